//! Which registers to read together: pure.

use crate::site::Table;

/// One value's place in a device, addressed as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) table: Table,
    pub(super) address: u16,
    pub(super) count: u16,
}

/// One request, and which of the places it covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) place: Place,
    pub(super) covers: Vec<usize>,
}

/// Merges places into as few requests as gaps of at most `max_gap` unused registers and blocks of at most
/// `max_block` allow. A value is never cut in two, so one that is longer than `max_block` gets a request
/// of its own length.
pub(super) fn plan(places: &[Place], max_block: u16, max_gap: u16) -> Vec<Request> {
    let mut sorted: Vec<(usize, Place)> = places.iter().copied().enumerate().collect();
    sorted.sort_by_key(|(_, place)| *place);
    let mut requests: Vec<Request> = Vec::new();
    for (index, place) in sorted {
        if let Some(open) = requests.last_mut()
            && let Some(count) = joined(open.place, place, max_block, max_gap)
        {
            open.place.count = count;
            open.covers.push(index);
        } else {
            requests.push(Request { place, covers: vec![index] });
        }
    }
    requests
}

/// The length of the block that covers both, if it is allowed. `next` does not start before `open`.
fn joined(open: Place, next: Place, max_block: u16, max_gap: u16) -> Option<u16> {
    let end = |p: Place| u32::from(p.address) + u32::from(p.count);
    let near = u32::from(next.address) <= end(open) + u32::from(max_gap);
    let count = u16::try_from(end(open).max(end(next)) - u32::from(open.address)).ok()?;
    (open.table == next.table && near && count <= max_block.max(open.count)).then_some(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holding(address: u16, count: u16) -> Place {
        Place { table: Table::Holding, address, count }
    }

    fn shape(requests: &[Request]) -> Vec<(u16, u16)> {
        requests.iter().map(|r| (r.place.address, r.place.count)).collect()
    }

    #[test]
    fn merges_across_small_gaps_only() {
        let places = [holding(20, 2), holding(0, 1), holding(1, 2), holding(6, 1)];
        assert_eq!(shape(&plan(&places, 100, 8)), [(0, 7), (20, 2)]);
        assert_eq!(shape(&plan(&places, 100, 0)), [(0, 3), (6, 1), (20, 2)]);
        assert_eq!(shape(&plan(&places, 2, 8)), [(0, 1), (1, 2), (6, 1), (20, 2)]);
    }

    #[test]
    fn tables_are_not_mixed() {
        let places = [holding(0, 1), Place { table: Table::Input, ..holding(1, 1) }];
        assert_eq!(plan(&places, 100, 8).len(), 2);
    }

    proptest! {
        #[test]
        fn each_place_is_read_once_and_whole(
            spots in prop::collection::vec((0..4usize, any::<u16>(), 1..=2u16), 0..60),
            max_block in 1..125u16, max_gap in 0..50u16
        ) {
            let tables = [Table::Holding, Table::Input, Table::Coil, Table::Discrete];
            let places: Vec<Place> = spots
                .into_iter()
                .map(|(t, address, count)| Place { table: tables[t], address: address.min(65_534), count })
                .collect();
            let requests = plan(&places, max_block, max_gap);
            let mut covered: Vec<usize> = requests.iter().flat_map(|r| r.covers.clone()).collect();
            covered.sort_unstable();
            prop_assert_eq!(covered, (0..places.len()).collect::<Vec<_>>());
            for request in &requests {
                prop_assert!(request.place.count <= max_block.max(2));
                for i in &request.covers {
                    let (p, r) = (places[*i], request.place);
                    prop_assert_eq!(p.table, r.table);
                    prop_assert!(p.address >= r.address);
                    prop_assert!(u32::from(p.address) + u32::from(p.count)
                        <= u32::from(r.address) + u32::from(r.count));
                }
            }
        }
    }
}
