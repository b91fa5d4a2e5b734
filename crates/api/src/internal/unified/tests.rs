use super::*;

/// What Python's difflib made of random texts.
const CASES: &str = include_str!("cases.tsv");

#[test]
fn differences_are_those_that_difflib_finds() {
    let cases = CASES.lines().skip(1).filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for case in cases {
        let cells: Vec<&str> = case.split('\t').collect();
        let [old, new, expected] = cells[..] else { panic!("three cells: {case}") };
        let lines =
            |text: &'static str| -> Vec<&'static str> { text.split("").filter(|line| !line.is_empty()).collect() };
        assert_eq!(diff(&lines(old), &lines(new), 3).replace('\n', "|"), expected, "{old} {new}");
        count += 1;
    }
    assert!(count > 40, "{count}");
}
