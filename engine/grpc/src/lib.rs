//! The engine's gRPC services and participant sessions.
