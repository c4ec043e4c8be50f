//! Destinations: one file each, behind one closed enum.

pub mod stream;
