use crate::site::Site;

/// Turns readings into frames.
#[derive(Debug)]
pub struct Assembler {
    _site: Site,
}
