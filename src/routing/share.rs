//! The share of a route's requests that each of its upstreams gets.

use super::settings::WeightedUpstream;

/// The upstream for one request, where `random` is uniform over all of `u32`.
///
/// `None` only where the list is empty. Where every weight is zero the first upstream takes everything: a request is not
/// refused because an operator turned the wrong knob last.
pub fn choose(upstreams: &[WeightedUpstream], random: u32) -> Option<&str> {
    let total: u64 = upstreams.iter().map(|u| u64::from(u.weight)).sum();
    // Scaling instead of a remainder: no division, and no bias towards the first ones.
    let mut point = (u64::from(random) * total) >> 32;
    upstreams
        .iter()
        .find(|u| {
            let weight = u64::from(u.weight);
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        })
        .or(upstreams.first())
        .map(|u| u.upstream.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(weights: &[u32]) -> Vec<WeightedUpstream> {
        let names = ["a", "b", "c"];
        let pairs = names.iter().zip(weights);
        pairs
            .map(|(name, &weight)| WeightedUpstream {
                upstream: (*name).to_owned(),
                weight,
            })
            .collect()
    }

    #[test]
    fn shares_follow_weights() {
        for (weights, expected) in [
            (&[1][..], [1000, 0, 0]),
            (&[9, 1], [900, 100, 0]),
            (&[0, 1, 1], [0, 500, 500]),
            (&[0, 0], [1000, 0, 0]),
            (&[1000, 1000, 0], [500, 500, 0]),
        ] {
            let upstreams = upstreams(weights);
            let mut counts = [0; 3];
            for i in 0..1000_u32 {
                let chosen = choose(&upstreams, i * (u32::MAX / 1000) + 1).expect("not empty");
                counts[usize::from(chosen.as_bytes()[0] - b'a')] += 1;
            }
            for (count, expected) in counts.into_iter().zip(expected) {
                assert!(
                    i32::abs_diff(count, expected) <= 1,
                    "{weights:?}: {counts:?}"
                );
            }
        }
        assert_eq!(choose(&upstreams(&[1, 1]), 0), Some("a"));
        assert_eq!(choose(&upstreams(&[1, 1]), u32::MAX), Some("b"));
        assert_eq!(choose(&[], 7), None);
    }
}
