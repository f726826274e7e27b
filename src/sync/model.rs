//! The modelled half of [`sync`](super).
