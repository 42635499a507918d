//! A definition as a picture: boxes for the steps and for what undoes them, edges forward and back, in three formats.
//! Deliberately not here: reading and checking the definition, and where the picture goes (`verbs::graph`).

pub mod dot;
mod layout;
pub mod mermaid;
mod picture;
pub mod svg;

pub use picture::Picture;
