//! One log per core, shared by its groups.
