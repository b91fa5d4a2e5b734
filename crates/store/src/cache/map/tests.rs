use std::collections::BTreeMap;

use super::*;
use crate::encoded::Encoded;

fn object(key: &str, rv: u64) -> Arc<Object> {
    let encoded = Encoded::from_json(br#"{"metadata":{"name":"x"}}"#, rv).unwrap();
    Arc::new(Object::new(key, encoded, rv, 0, Box::default()))
}

/// A small generator, so that a failure replays.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn same(map: &Map, model: &BTreeMap<String, u64>) {
    assert_eq!(map.len(), model.len());
    let found: Vec<_> = map.iter().map(|object| (object.key().to_owned(), object.rv())).collect();
    let expected: Vec<_> = model.iter().map(|(key, rv)| (key.clone(), *rv)).collect();
    assert_eq!(found, expected);
}

#[test]
fn behaves_like_a_btree_map_and_copies_do_not_change() {
    for seed in 1..=5 {
        let mut random = Random(seed);
        let (mut map, mut model) = (Map::default(), BTreeMap::new());
        let mut copies: Vec<(Map, BTreeMap<String, u64>)> = Vec::new();
        for rv in 1..6_000 {
            let key = format!("k{:04}", random.below(1_500));
            if random.below(3) > 0 {
                assert_eq!(map.insert(object(&key, rv)).map(|old| old.rv()), model.insert(key, rv), "seed {seed}");
            } else {
                assert_eq!(map.remove(&key).map(|old| old.rv()), model.remove(&key), "seed {seed}");
            }
            if rv % 1_000 == 0 {
                copies.push((map.clone(), model.clone()));
            }
        }
        same(&map, &model);
        for (copy, then) in &copies {
            same(copy, then);
        }
        check_ranges(&map, &model, &mut random);
    }
}

fn check_ranges(map: &Map, model: &BTreeMap<String, u64>, random: &mut Random) {
    for _ in 0..300 {
        let (low, high) = (format!("k{:04}", random.below(1_600)), format!("k{:04}", random.below(1_600)));
        let (from, to) = (map.upper_bound(&low), map.lower_bound(&high));
        let found: Vec<_> = map.between(from, to).map(|object| object.key()).collect();
        let expected: Vec<_> = model.keys().filter(|key| **key > low && **key < high).map(String::as_str).collect();
        assert_eq!(found, expected, "{low}..{high}");
        assert_eq!(map.count(from, to), expected.len(), "{low}..{high}");
        assert_eq!(map.get(&low).map(|object| object.rv()), model.get(&low).copied());
    }
    assert_eq!(map.between(map.lower_bound(""), map.end()).count(), model.len());
}

#[test]
fn keys_in_order_fill_their_chunks() {
    let mut map = Map::default();
    for number in 0..2_560 {
        map.insert(object(&format!("{number:05}"), 1));
    }
    assert_eq!(map.chunks.len(), 10);
}
