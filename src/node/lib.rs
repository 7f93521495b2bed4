//! Starts the cores of a node and wires them together.
