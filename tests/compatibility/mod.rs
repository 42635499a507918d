//! What has to stay readable for ever. Part of the binary of `cases`.

pub mod digest;
