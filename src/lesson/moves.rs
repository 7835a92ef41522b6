//! Setpoints that move, by what they do.

use std::collections::BTreeMap;

use crate::frame::Frame;
use crate::site::{Cools, Name, Site};
use crate::units::Finite;

pub(super) struct Moves {
    pub(super) warmer: usize,
    pub(super) colder: usize,
}

impl Moves {
    pub(super) fn count(site: &Site, frame: &Frame, to: &BTreeMap<Name, Finite>) -> Self {
        let mut moves = Self { warmer: 0, colder: 0 };
        for s in &site.setpoints {
            let (Some(now), Some(to)) = (frame.good(&s.name), to.get(&s.name).copied()) else { continue };
            if to == now {
                continue;
            }
            if (to > now) == (s.cools == Cools::Up) {
                moves.colder += 1;
            } else {
                moves.warmer += 1;
            }
        }
        moves
    }
}
