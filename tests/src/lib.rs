//! What the tests of several packages share. Here: a private PostgreSQL cluster. No test lives here that belongs to one
//! package alone, and nothing of this is ever part of a shipped binary.

pub mod postgres;
