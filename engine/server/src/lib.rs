//! A node made from configuration: wiring only.
