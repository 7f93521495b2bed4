//! The runtime on glommio and io_uring.
