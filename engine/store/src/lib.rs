//! The seam to a database: the Store trait, versioned records, a memory store and the conformance suite.
