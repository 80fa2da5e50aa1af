//! Parts put together: in any order the same octets, never one of another version, never one that is not here.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn any_range() -> impl Strategy<Value = Range<u64>> {
    (0u64..120, 1u64..40).prop_map(|(start, length)| start..(start + length).min(128))
}

proptest! {
    /// Against a map from position to octet: whatever comes in whatever order, from whichever version.
    #[test]
    fn never_a_hole_and_never_another_version(
        arrivals in prop::collection::vec((any_range(), 1u8..3, any::<bool>()), 1..12),
        asked in prop::collection::vec(any_range(), 8),
    ) {
        const TOTAL: u64 = 128;
        let mut arrivals = arrivals.into_iter();
        let (range, mut version, tells) = arrivals.next().expect("at least one");
        let mut model: BTreeMap<u64, u8> = range.clone().map(|at| (at, version)).collect();
        let mut stored = part(version, range, tells.then_some(TOTAL));
        for (range, newer, tells) in arrivals {
            if newer != version {
                model.clear();
                version = newer;
            }
            model.extend(range.clone().map(|at| (at, newer)));
            stored = match stored.with(part(newer, range, tells.then_some(TOTAL)), MOST) {
                Combined::Partial(partial) | Combined::Replaced(partial) => partial,
                Combined::Complete(whole) => {
                    prop_assert_eq!(model.len() as u64, TOTAL);
                    prop_assert_eq!(all(&whole.body), octets(version, 0..TOTAL));
                    return Ok(());
                }
            };
            let ranges = held(&stored);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            let positions: Vec<u64> = ranges.into_iter().flatten().collect();
            prop_assert_eq!(&positions, &model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(stored.octets(), positions.len() as u64);
        }
        for range in asked {
            let here = range.clone().all(|at| model.contains_key(&at));
            let answer = stored.answer(&range).map(|pieces| pieces.flatten().collect::<Vec<u8>>());
            prop_assert_eq!(answer, here.then(|| octets(version, range)));
        }
    }

    /// The order in which parts come does not matter, and the last one completes it.
    #[test]
    fn any_order_is_the_same(
        (cuts, order) in prop::collection::vec(1u64..99, 1..14).prop_flat_map(|cuts| {
            let parts: Vec<usize> = (0..=cuts.len()).collect();
            (Just(cuts), Just(parts).prop_shuffle())
        }),
        more in 0u64..8,
    ) {
        const TOTAL: u64 = 100;
        let mut cuts = cuts;
        cuts.extend([0, TOTAL]);
        cuts.sort_unstable();
        // With repeated cuts some ranges are empty; all reach a little into the next.
        let range = |index: usize| cuts[index]..(cuts[index + 1] + more).min(TOTAL);
        let mut parts = order.into_iter().map(range).filter(|range| !range.is_empty());
        let first = parts.next().expect("the ranges cover all");
        let mut combined = Combined::Partial(part(1, first, Some(TOTAL)));
        for range in parts {
            combined = match combined {
                Combined::Partial(partial) => partial.with(part(1, range, Some(TOTAL)), MOST),
                Combined::Complete(whole) => Combined::Complete(whole),
                Combined::Replaced(_) => return Err(TestCaseError::fail("one version only")),
            };
        }
        match combined {
            Combined::Complete(whole) => prop_assert_eq!(all(&whole.body), octets(1, 0..TOTAL)),
            Combined::Partial(partial) => {
                let whole = partial.complete().map(|whole| all(&whole.body));
                prop_assert_eq!(whole, Some(octets(1, 0..TOTAL)));
            }
            Combined::Replaced(_) => prop_assert!(false, "one version only"),
        }
    }

    /// What is asked for, joined with what is here, is the whole.
    #[test]
    fn what_was_missing_completes(
        ranges in prop::collection::vec(any_range(), 1..6),
        knows: bool,
    ) {
        const TOTAL: u64 = 128;
        let mut ranges = ranges.into_iter();
        let total = knows.then_some(TOTAL);
        let mut stored = part(1, ranges.next().expect("at least one"), total);
        for range in ranges {
            match stored.with(part(1, range, total), MOST) {
                Combined::Partial(partial) => stored = partial,
                _ => return Ok(()),
            }
        }
        let Some(missing) = stored.missing_request() else { return Ok(()) };
        let range = missing.start..missing.end.unwrap_or(TOTAL);
        prop_assume!(!range.is_empty());
        let text = content_range(&range, Some(TOTAL));
        let fields = map(&[(ETAG, "\"v1\""), (CONTENT_RANGE, &text)]);
        let fit = stored.judge(&missing, StatusCode::PARTIAL_CONTENT, &fields);
        prop_assert_eq!(fit, Fit::Completes(range.clone()));
        // All before the range is here, and all behind it.
        prop_assert!(range.start == 0 || stored.answer(&(0..range.start)).is_some());
        match stored.with(part(1, range, Some(TOTAL)), MOST) {
            Combined::Complete(whole) => prop_assert_eq!(all(&whole.body), octets(1, 0..TOTAL)),
            other => prop_assert!(false, "not whole: {:?}", other),
        }
    }
}
