//! Syntax, operators, macros, conversions. The facts are those of cel-spec's conformance tests.

use serde_json::json;

use crate::support::{all_fail, all_true, outcome};

#[test]
fn literals() {
    all_true(&[
        "1 == 0x1",
        "-9223372036854775808 < 0",
        "18446744073709551615u > 0u",
        "0xffu == 255u",
        "1.5e3 == 1500.0",
        ".5 == 0.5",
        "-1.0 < 0.0",
        r#"'a\n\x41\101\u0041\U00000041' == "a\nAAAA""#,
        r#"r'\n' == "\\n""#,
        "'''a'b''' == \"a'b\"",
        "\"\"\"a\nb\"\"\" == 'a\\nb'",
        r"b'\xff\377' == b'\377\xFF'",
        r"b'ÿ'.size() == 2",
        r#"rb'\x' == b'\\x'"#,
        "[1, 2, 3,].size() == 3",
        "{'a': 1, 'b': 2,}.size() == 2",
        "true != false",
        "null == null",
        "// a comment\ntrue // another",
        "!!true",
        "--1 == 1",
        "- -1 == 1",
    ]);
}

/// Here cel-go differs from cel-spec.
#[test]
fn the_last_of_keys_that_are_repeated_stands() {
    all_true(&["{'a': 1, 'a': 2} == {'a': 2}", "{'a': 1, ?'a': optional.none()} == {'a': 1}"]);
}

#[test]
fn arithmetic_and_order() {
    all_true(&[
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "7 / 2 == 3 && -7 / 2 == -3",
        "7 % 4 == 3 && -7 % 4 == -3",
        "1 - 2 - 3 == -4",
        "1.5 + 1.5 == 3.0",
        "1.0 / 0.0 > 1e308",
        "'a' + 'b' == 'ab'",
        "b'a' + b'b' == b'ab'",
        "[1] + [2] == [1, 2]",
        "1 < 2u && 2.5 > 2 && 3u >= 2.9",
        "dyn(1) == 1.0 && dyn(1u) == 1",
        "dyn(1) != dyn('1')",
        "dyn([1, 2]) == dyn([1.0, 2.0])",
        "dyn({1: 'a'}) == dyn({1u: 'a'})",
        "{1: 'a'}[dyn(1u)] == 'a' && {1: 'a'}[dyn(1.0)] == 'a'",
        "'a' < 'b' && 'b' < 'ba' && b'a' < b'b' && false < true",
        "!(dyn(0.0/0.0) == dyn(0.0/0.0))",
        "9223372036854775807 < 9223372036854775808.0",
        "2 in [1, 2] && !(3 in [1, 2]) && 'a' in {'a': 1} && dyn(1.0) in [1]",
        "true ? 1 < 2 : 1 < 0",
        "false ? false : true ? true : false",
    ]);
    all_fail(&[
        ("9223372036854775807 + 1", "integer overflow"),
        ("-9223372036854775808 - 1", "integer overflow"),
        ("9223372036854775807 * 2", "integer overflow"),
        ("-(-9223372036854775807 - 1)", "integer overflow"),
        ("(-9223372036854775807 - 1) / -1", "integer overflow"),
        ("1u - 2u", "unsigned integer overflow"),
        ("18446744073709551615u + 1u", "unsigned integer overflow"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("[1][1]", "index out of bounds: 1"),
        ("[1][-1]", "index out of bounds: -1"),
        ("{'a': 1}['b']", "no such key: b"),
        ("{'a': 1}.b", "no such key: b"),
        ("dyn(1) + dyn('a')", "no such overload"),
        ("dyn(1).foo", "no such key: foo"),
        ("dyn(null).foo.bar", "no such key: foo"),
        ("dyn(null)['foo']", "no such key: foo"),
        ("dyn('a')[0]", "no such key: 0"),
        ("dyn([1]).foo", "unsupported index type 'string' in list"),
        ("has(dyn([1]).foo)", "unsupported index type 'string' in list"),
        ("[1][dyn('a')]", "unsupported index type 'string' in list"),
        ("[1][dyn(0.5)]", "unsupported index value 0.5 in list"),
        ("dyn(1) && true", "no such overload"),
    ]);
}

#[test]
fn errors_vanish_where_the_other_side_decides() {
    all_true(&[
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1)",
        "!(1 / 0 == 1 && false)",
        "[1, 0].exists(x, 1 / x == 1)",
        "[0, 1].exists(x, 1 / x == 1)",
        "![0, 1].all(x, 2 / x == 1)",
        "cel.bind(x, 1 / 0, true)",
    ]);
    all_fail(&[
        ("false || 1 / 0 == 1", "division by zero"),
        ("1 / 0 == 1 && true", "division by zero"),
        ("[0, 1].all(x, 1 / x == 1)", "division by zero"),
        ("[0, 2].exists(x, 1 / x == 1)", "division by zero"),
        ("[0, 1].map(x, 1 / x)", "division by zero"),
        ("[0, 1].exists_one(x, 1 / x == 1)", "division by zero"),
        ("cel.bind(x, 1 / 0, x)", "division by zero"),
    ]);
}

#[test]
fn macros() {
    all_true(&[
        "[1, 2, 3].all(x, x > 0) && ![1, 2].all(x, x > 1) && [].all(x, x > 0)",
        "[1, 2].exists(x, x == 2) && ![].exists(x, true)",
        "[1, 2, 2].exists_one(x, x == 1) && ![1, 2, 2].exists_one(x, x == 2)",
        "[1, 2].map(x, x * 2) == [2, 4] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x % 2 == 1) == [1, 3]",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && {'a': 1}.map(k, k) == ['a']",
        "[[1], [2, 3]].map(x, x.map(y, y + 1)) == [[2], [3, 4]]",
        "[1, 2].all(x, [3, 4].all(y, x < y))",
        "[1].all(x, [2].all(x, x == 2) && x == 1)",
        "[1, 2].all(i, v, v == i + 1) && [5].exists(i, v, i == 0 && v == 5)",
        "{'a': 1}.all(k, v, k == 'a' && v == 1) && {'a': 1, 'b': 2}.existsOne(k, v, v == 2)",
        "[1, 2].transformList(i, v, i + v) == [1, 3] && [1, 2].transformList(i, v, i > 0, v) == [2]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && {'a': 1, 'b': 2}.transformMap(k, v, v > 1, v) == {'b': 2}",
        "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "cel.bind(x, 2, cel.bind(y, x * x, x + y)) == 6",
    ]);
    all_fail(&[
        ("{'a': 1, 'b': 1}.transformMapEntry(k, v, {v: k})", "insert failed: key 1 already exists"),
        ("dyn(1).all(x, true)", "got 'types.Int', expected iterable type"),
        ("dyn(null).map(x, x)", "got 'types.Null', expected iterable type"),
        ("dyn('a').all(k, v, true)", "unsupported comprehension range type: types.String"),
    ]);
}

#[test]
fn optionals() {
    all_true(&[
        "optional.of(1).value() == 1 && optional.of(1).hasValue() && !optional.none().hasValue()",
        "!has(dyn(null).a) && !has(dyn(1).a) && dyn(null).?a == optional.none() && dyn(null)[?'a'].orValue(2) == 2",
        "optional.ofNonZeroValue(0) == optional.none() && optional.ofNonZeroValue('a').value() == 'a'",
        "optional.none().orValue(5) == 5 && optional.of(1).or(optional.of(2)).value() == 1",
        "{'a': {'b': 1}}.?a.b.value() == 1 && {'a': {'b': 1}}.?x.b.orValue(7) == 7",
        "{'a': 1}[?'a'].value() == 1 && [1][?3] == optional.none()",
        "{'a': [1]}.?a[0].value() == 1",
        "[?optional.none(), 1, ?optional.of(2)] == [1, 2]",
        "{?'a': optional.of(1), ?'b': optional.none()} == {'a': 1}",
        "optional.of(2).optMap(x, x * 2).value() == 4 && optional.none().optMap(x, x) == optional.none()",
        "optional.of(2).optFlatMap(x, optional.of(x + 1)).value() == 3",
        "optional.of({'a': 1}).a.value() == 1 && has(optional.of({'a': 1}).a) && !has(optional.of({'a': 1}).b)",
        "[optional.of(1), optional.none()].unwrapOpt() == [1] && [1, 2].first().value() == 1 && [1, 2].last().value() == 2",
    ]);
    all_fail(&[("optional.none().value()", "optional.none() dereference")]);
}

#[test]
fn conversions_and_types() {
    all_true(&[
        "int('42') == 42 && int(3.9) == 3 && int(-3.9) == -3 && int(7u) == 7 && int(timestamp('1970-01-01T00:01:00Z')) == 60",
        "uint(7) == 7u && uint('7') == 7u && uint(3.5) == 3u",
        "double('1.5') == 1.5 && double(2) == 2.0 && double('NaN') != double('NaN')",
        "string(1) == '1' && string(1.0) == '1' && string(1e6) == '1e+06' && string(1.5e-7) == '1.5e-07' && string(123.456) == '123.456'",
        "string(true) == 'true' && string(b'abc') == 'abc' && string(1u) == '1'",
        "string(duration('1h1.5s')) == '3601.5s' && string(timestamp('2020-01-02T03:04:05.5+01:00')) == '2020-01-02T02:04:05.5Z'",
        "bytes('\u{e4}') == b'\\xc3\\xa4' && bool('TRUE') && !bool('f')",
        "type(1) == int && type('a') == string && type([]) == list && type({}) == map && type(null) == null_type",
        "type(type(1)) == type && type(1.0) != int && type(timestamp(0)) == google.protobuf.Timestamp",
        "type(optional.none()) == optional_type && type(dyn(1)) == int",
    ]);
    all_fail(&[
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("int(1e19)", "integer overflow"),
        ("int(18446744073709551615u)", "integer overflow"),
        ("uint(-1)", "unsigned integer overflow"),
        ("bool('yes')", "type conversion error from 'string' to 'bool'"),
        ("string(b'\\xff')", "invalid UTF-8 in bytes, cannot convert to string"),
        ("duration('a' + 'b')", "type conversion error from 'string' to 'google.protobuf.Duration'"),
        ("timestamp('a' + 'b')", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
    ]);
}

#[test]
fn times() {
    all_true(&[
        "timestamp('2009-02-13T23:31:30Z') == timestamp(1234567890)",
        "timestamp('2009-02-13T23:31:30.123456789Z').getMilliseconds() == 123",
        "timestamp('2009-02-13T23:31:30Z').getFullYear() == 2009 && timestamp('2009-02-13T23:31:30Z').getMonth() == 1",
        "timestamp('2009-02-13T23:31:30Z').getDate() == 13 && timestamp('2009-02-13T23:31:30Z').getDayOfMonth() == 12",
        "timestamp('2009-02-13T23:31:30Z').getDayOfWeek() == 5 && timestamp('2009-02-13T23:31:30Z').getDayOfYear() == 43",
        "timestamp('2009-02-13T23:31:30Z').getHours() == 23 && timestamp('2009-02-13T23:31:30Z').getMinutes() == 31",
        "timestamp('2009-02-13T23:31:30Z').getDate('Australia/Sydney') == 14",
        "timestamp('2009-02-13T23:31:30Z').getHours('+11:00') == 10 && timestamp('2009-02-13T23:31:30Z').getHours('-02:30') == 21",
        "timestamp('2009-02-13T02:00:00Z').getHours('02:30') == 4",
        "timestamp('2009-02-13T23:00:00Z') + duration('1h') == timestamp('2009-02-14T00:00:00Z')",
        "timestamp('2009-02-14T00:00:00Z') - timestamp('2009-02-13T23:00:00Z') == duration('60m')",
        "duration('1h') - duration('1m') == duration('59m') && duration('-1.5h').getMinutes() == -90",
        "duration('3730s').getHours() == 1 && duration('123.321456789s').getMilliseconds() == 123321",
        "duration('1us1ns') == duration('1001ns') && duration('0') == duration('0s') && duration('1s') < duration('2s')",
        "timestamp('0001-01-01T00:00:00Z') < timestamp('9999-12-31T23:59:59.999999999Z')",
    ]);
    all_fail(&[
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "timestamp overflow"),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1s')", "timestamp overflow"),
        ("timestamp('9999-12-31T00:00:00Z') - timestamp('0001-01-01T00:00:00Z')", "duration overflow"),
        ("duration('290y' + '')", "type conversion error from 'string' to 'google.protobuf.Duration'"),
        ("timestamp(0).getHours('Nowhere/Else')", "unknown time zone Nowhere/Else"),
        (
            "timestamp('2009-02-13 23:31:30Z' + '')",
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        (
            "timestamp('2009-02-13T23:31:60Z' + '')",
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        ("timestamp(253402300800 + 0)", "timestamp overflow"),
    ]);
}

#[test]
fn results_are_json() {
    assert_eq!(outcome("{'a': [dyn(1), dyn(2.5), dyn(true)]}.a.size()"), Ok(json!(3)));
    assert_eq!(outcome("[dyn(1), dyn('a'), dyn(b'a'), dyn(duration('90s'))]"), Ok(json!([1, "a", "YQ==", "1m30s"])));
    assert_eq!(outcome("{'a': {'b': timestamp(0)}}"), Ok(json!({"a": {"b": "1970-01-01T00:00:00Z"}})));
    assert_eq!(outcome("{1: 2}"), Err("a key that is no text cannot be converted to JSON".into()));
}
