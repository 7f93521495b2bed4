//! The cluster map and the placement of groups, pure.
