//! What the tests of several packages share: a private PostgreSQL cluster, processes, audits.
