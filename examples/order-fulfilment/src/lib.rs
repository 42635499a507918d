//! An order saga over four services, to copy from.
