//! Documents: from bytes to a draft of a definition, each part with its place. What a draft means is for `check`.

pub(crate) mod draft;
pub(crate) mod duration;
pub(crate) mod fields;
pub(crate) mod keys;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod yaml;
