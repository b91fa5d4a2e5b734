//! The libraries, by the examples of their documentation upstream.

use crate::support::{all_fail, all_true, outcome};

#[test]
fn strings() {
    all_true(&[
        "'hello'.charAt(4) == 'o' && 'hello'.charAt(5) == ''",
        "'hello mellow'.indexOf('') == 0 && 'hello mellow'.indexOf('ello') == 1 && 'hello mellow'.indexOf('jello') == -1",
        "'tacocat'.indexOf('a', 30) == -1 && 'tacocat'.lastIndexOf('a', 30) == -1 && 'tacocat'.lastIndexOf('a', 7) == -1",
        "'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.indexOf('', 2) == 2 && ''.indexOf('a') == -1",
        "'hello mellow'.lastIndexOf('') == 12 && 'hello mellow'.lastIndexOf('ello') == 7 && 'hello mellow'.lastIndexOf('ello', 6) == 1",
        "'ta\u{a9}o\u{a9}\u{3b1}T'.indexOf('o') == 3 && 'ta\u{a9}o\u{a9}\u{3b1}T'.lastIndexOf('\u{a9}') == 4 && 'ta\u{a9}o\u{a9}\u{3b1}T'.charAt(5) == '\u{3b1}'",
        "'TacoC\u{c6}t'.lowerAscii() == 'tacoc\u{c6}t' && 'tacoc\u{e6}t'.upperAscii() == 'TACOC\u{e6}T'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'abc'.replace('', '-') == '-a-b-c-' && 'hello hello'.replace('he', 'we', 0) == 'hello hello'",
        "'a b c'.split(' ') == ['a', 'b', 'c'] && 'a b c'.split(' ', 2) == ['a', 'b c'] && 'a b'.split(' ', 0) == [] && 'a b'.split(' ', -1) == ['a', 'b']",
        "'abc'.split('') == ['a', 'b', 'c'] && 'abc'.split('', 2) == ['a', 'bc'] && ''.split('') == []",
        "['a', 'b'].join() == 'ab' && ['a', 'b'].join('-') == 'a-b' && [].join('-') == ''",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'abc'.substring(3) == ''",
        "'  \\ttrim\\n '.trim() == 'trim' && '\\u200btrim'.trim() == '\\u200btrim'",
        "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo') && size('\u{4e16}') == 1 && 'ab'.size() == 2",
        r#"strings.quote('a"b\n\\') == '"a\\"b\\n\\\\"'"#,
        "'hello'.matches('^h.*o$') && matches('abc', 'b') && !'abc'.matches('^b')",
    ]);
    all_fail(&[
        ("'tacocat'.charAt(30)", "index out of range: 30"),
        ("'tacocat'.indexOf('a', -30)", "index out of range: -30"),
        ("'tacocat'.lastIndexOf('a', -1)", "index out of range: -1"),
        ("'tacocat'.substring(-1)", "index out of range: -1"),
        ("'tacocat'.substring(2, 1)", "invalid substring range. start: 2, end: 1"),
        ("'tacocat'.substring(0, 9)", "index out of range: 9"),
    ]);
}

#[test]
fn format() {
    all_true(&[
        "'%s and %d%%'.format(['a', 5]) == 'a and 5%'",
        "'%s %s %s %s'.format([true, null, 1.5, b'x']) == 'true null 1.5 x'",
        "'%.2f %f %.0f'.format([1.005, 2.5, 2.5]) == '1.00 2.500000 2'",
        "'%.1f %.1f %.2f'.format([1234567.89, -123456.0, -0.001]) == '1,234,567.9 -123,456.0 -0.00'",
        "'%f %f %f'.format(['NaN', 'Infinity', '-Infinity']) == 'NaN \\u221e -\\u221e'",
        "'%e'.format([1052.032911275]) == '1.052033\\u202f\\u00d7\\u202f10\\u2070\\u00b3'",
        "'%.3e'.format([-0.00012]) == '-1.200000\\u202f\\u00d7\\u202f10\\u207b\\u2070\\u2074'",
        "'%.20e'.format([2.71828]) == '     2.718280\\u202f\\u00d7\\u202f10\\u2070\\u2070'",
        "'%b %b %o %x %X %x'.format([5, true, 8, 255, 255, 'hi']) == '101 1 10 ff FF 6869'",
        "'%b'.format([-5]) == '-101' && '%x'.format([-10]) == '-a'",
        r#"'%s'.format([[dyn('a'), dyn(2), dyn(duration('90s'))]]) == '["a", 2, duration("90s")]'"#,
        r#"'%s'.format([[double('NaN'), double('Inf')]]) == '["NaN", "+Inf"]'"#,
        r#"'%s'.format([{'b': 1, 'a': 2}]) == '{"a":2, "b":1}'"#,
        "'%s'.format([duration('1h')]) == '3600s' && '%s'.format([type(1)]) == 'int'",
        "'%s'.format([-double('Inf')]) == '-Inf'",
    ]);
    all_fail(&[
        ("dyn('%s').format([])", "index 0 out of range"),
        ("dyn('%').format([])", "index 0 out of range"),
        ("dyn('%').format([1])", "unexpected end of string"),
        ("dyn('%a').format([1])", "could not parse formatting clause: unrecognized formatting clause \"a\""),
        (
            "dyn('%.34').format([5.0])",
            "could not parse formatting clause: error while parsing precision: could not find end of precision specifier",
        ),
        (
            "dyn('%.f').format([1.0])",
            "could not parse formatting clause: error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \"\": invalid syntax",
        ),
    ]);
    for (clause, rule) in [
        ("d", "decimal clause can only be used on integers"),
        ("f", "fixed-point clause can only be used on doubles"),
        ("e", "scientific clause can only be used on doubles"),
        ("b", "only integers and bools can be formatted as binary"),
        ("o", "octal clause can only be used on integers"),
        ("X", "only integers, byte buffers, and strings can be formatted as hex"),
    ] {
        let expected = format!("error during formatting: {rule}, was given null_type");
        all_fail(&[(&format!("'%{clause}'.format([dyn(null)])"), &expected)]);
        let refused = outcome(&format!("'%{clause}'.format([null])")).unwrap_err();
        assert!(refused.starts_with(&format!("ERROR: <input>:1:14: {expected}\n")), "{refused}");
    }
}

#[test]
fn calls_of_format_are_checked() {
    for (source, at, expected) in [
        ("'%s %s'.format(['a'])", 15, "index 1 out of range"),
        ("'%s %s'.format(['a', 'b', 'c'])", 15, "too many arguments supplied to string.format (expected 2, got 3)"),
        ("'%j'.format([1])", 12, "could not parse formatting clause: unrecognized formatting clause \"j\""),
        (
            "'%s'.format([[1, quantity('1')]])",
            26,
            "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given kubernetes.Quantity",
        ),
    ] {
        let refused = outcome(source).unwrap_err();
        assert!(refused.starts_with(&format!("ERROR: <input>:1:{at}: {expected}\n")), "{refused}");
    }
}

#[test]
fn lists_and_sets() {
    all_true(&[
        "[1, 2, 3].isSorted() && ['a', 'b', 'b'].isSorted() && ![2.0, 1.0].isSorted() && [1].isSorted()",
        "[1, 3].sum() == 4 && [1.0, 3.0].sum() == 4.0 && [duration('1m'), duration('1s')].sum() == duration('61s')",
        "[1, 3].min() == 1 && [1, 3].max() == 3 && ['b', 'a'].min() == 'a'",
        "[1, 2, 2, 3].indexOf(2) == 1 && [1, 2, 2, 3].lastIndexOf(2) == 2 && [1.0].indexOf(1.1) == -1",
        "sets.contains([1, 2], [2]) && !sets.contains([1], [2]) && sets.contains([], [])",
        "sets.equivalent([1, 1, 2], [2, 1]) && !sets.equivalent([1], [1, 2])",
        "sets.intersects([1, 2], [2, 3]) && !sets.intersects([1], [2])",
        "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''",
        "'1 2 3'.findAll('[0-9]') == ['1', '2', '3'] && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
    ]);
    all_fail(&[
        ("[1].filter(x, false).min()", "min called on empty list"),
        ("'x'.find(dyn('('))", "error parsing regexp: missing closing ): `(`"),
    ]);
}

#[test]
fn lists_are_made_of_lists() {
    all_true(&[
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [1].slice(1, 1) == [] && [1].slice(0, 1) == [1]",
        "[[1, 2], [], [3]].flatten() == [1, 2, 3] && [[[1]], [[2]]].flatten() == [[1], [2]]",
        "dyn([dyn(1), dyn([dyn(2), dyn([dyn(3), dyn([4])])])]).flatten(2) == [dyn(1), dyn(2), dyn(3), dyn([4])]",
        "[[1]].flatten(0) == [[1]] && [1, 2].flatten(5) == [1, 2]",
        "[5, 3, 1, 2].reverse() == [2, 1, 3, 5] && [].reverse() == []",
        "[1, 2, 2, 3, 3, 3].distinct() == [1, 2, 3] && ['b', 'b', 'c', 'a', 'c'].distinct() == ['b', 'c', 'a']",
        "[dyn(1), dyn(1.0), dyn('1')].distinct() == [dyn(1), dyn('1')]",
        "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'c', 'a'].sort() == ['a', 'b', 'c'] && [true, false].sort() == [false, true]",
        "[duration('1h'), duration('1s')].sort()[0] == duration('1s') && [].sort() == []",
        "['foo', 'ab', 'x'].sortBy(e, size(e)) == ['x', 'ab', 'foo'] && [1, -3, 2].sortBy(e, -e) == [2, 1, -3]",
        "[{'n': 2, 'v': 1}, {'n': 1, 'v': 2}].sortBy(e, e.n).map(e, e.n) == [1, 2]",
        "[[3, 1], [2]].sortBy(l, l.sortBy(e, e)[0]) == [[3, 1], [2]]",
        "lists.range(4) == [0, 1, 2, 3] && lists.range(0) == [] && lists.range(3).map(x, x * x) == [0, 1, 4]",
    ]);
    all_fail(&[
        ("[1, 2].slice(-1, 1)", "cannot slice(-1, 1), negative indexes not supported"),
        ("[1, 2].slice(2, 1)", "cannot slice(2, 1), start index must be less than or equal to end index"),
        ("[1, 2].slice(0, 3)", "cannot slice(0, 3), list is length 2"),
        ("[[1]].flatten(-1)", "level must be non-negative"),
        ("dyn([dyn(1), dyn('a')]).sort()", "list elements must have the same type"),
        ("dyn([[1], [2]]).sort()", "list elements must be comparable"),
        ("lists.range(-1)", "lists.range: size must be non-negative, got -1"),
        ("lists.range(9000000000000000000)", "operation cancelled: actual cost limit exceeded"),
    ]);
    let refused = outcome("'a'.sortBy(x, x)").expect_err("is no list");
    assert!(refused.contains("sortBy can only be applied to a list"), "{refused}");
    let refused = outcome("[1, 2].flatten()").expect_err("is flat");
    assert!(refused.contains("found no matching overload for 'flatten' applied to 'list(int).()'"), "{refused}");
    // Turning text round came with a later version of the library than Kubernetes has.
    assert!(outcome("'abc'.reverse()").is_err());
}

#[test]
fn quantities() {
    all_true(&[
        "quantity('1.5G').isInteger() && !quantity('1.3m').isInteger() && isQuantity('1.3G') && !isQuantity('1.3GB')",
        "quantity('50k').add(20).sub(quantity('100k')).sub(-50000).asInteger() == 20 && quantity('1Gi').asInteger() == 1073741824",
        "!quantity('1000m').isInteger() && !quantity('1.5Gi').isInteger() && !quantity('1Ei').isInteger() && quantity('-012k').asInteger() == -12000",
        "!quantity('1.5').add(quantity('0.5')).isInteger() && quantity('1.5').add(quantity('0.5')) == quantity('2')",
        "quantity('50k').asInteger() == 50000 && quantity('1Mi').asApproximateFloat() == 1048576.0",
        "sign(quantity('-1')) == -1 && sign(quantity('0')) == 0",
        "quantity('200M').isGreaterThan(quantity('1M')) && quantity('50Mi').isLessThan(quantity('100M'))",
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('1G') == quantity('1000M')",
        "quantity('50k').add(20) == quantity('50020') && quantity('50k').sub(quantity('20k')) == quantity('30k')",
        "dyn(quantity('1')) != dyn('1')",
    ]);
    all_fail(&[
        (
            "quantity('10 Mo')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("quantity('10Mm')", "unable to parse quantity's suffix"),
        ("quantity('1.5').asInteger()", "cannot convert value to integer"),
        ("quantity('9999999999999999999999999999999999999G').asInteger()", "cannot convert value to integer"),
        ("quantity('9223372036854775807').asInteger()", "cannot convert value to integer"),
        ("quantity('100000000000000000k').asInteger()", "cannot convert value to integer"),
    ]);
    // Upstream documents it as a member, and declares it as none.
    assert!(outcome("quantity('1').sign()").is_err());
}

#[test]
fn networks() {
    all_true(&[
        "ip('127.0.0.1').isLoopback() && ip('::1').family() == 6 && ip('0.0.0.0').isUnspecified()",
        "ip('224.0.0.1').isLinkLocalMulticast() && !ip('224.0.1.1').isLinkLocalMulticast() && ip('ff02::1').isLinkLocalMulticast()",
        "ip('169.254.169.254').isLinkLocalUnicast() && ip('fe80::1').isLinkLocalUnicast() && !ip('fd80::1').isLinkLocalUnicast()",
        "ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast() && !ip('ff00::1').isGlobalUnicast()",
        "isIP('::1') && !isIP('1.2.3') && !isIP('fe80::1%eth0') && !isIP('::ffff:1.2.3.4') && !isIP('01.2.3.4')",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD') && string(ip('2001:DB8::1')) == '2001:db8::1'",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))",
        "cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24') && !cidr('192.168.1.0/24').containsCIDR(cidr('192.168.2.0/24'))",
        "cidr('192.168.0.1/24').ip() == ip('192.168.0.1') && cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')",
        "cidr('192.168.0.1/24') != cidr('192.168.0.0/24') && cidr('::1/128').prefixLength() == 128 && cidr('0.0.0.0/0').containsIP('9.9.9.9')",
        "!isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0/08') && !isCIDR('10.0.0.0') && string(cidr('::/64')) == '::/64'",
        "type(ip('::1')) == net.IP && type(cidr('::/0')) == net.CIDR",
    ]);
    all_fail(&[
        ("ip('fe80::1%en0')", "IP address \"fe80::1%en0\" with zone value is not allowed"),
        ("ip('::ffff:1.2.3.4')", "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed"),
    ]);
}

#[test]
fn what_is_no_address_is_told_in_the_words_of_go() {
    for (text, why) in [
        ("", "unable to parse IP"),
        ("999", "unable to parse IP"),
        ("%eth0", "missing IPv6 address"),
        ("192.168.0.1.0", "IPv4 address too long"),
        ("1.2.3", "IPv4 address too short"),
        ("10.0.0.256", "IPv4 field has value >255"),
        ("192.168.1.01", "IPv4 field has octet with leading zero"),
        ("1.2.3.4.", "IPv4 field must have at least one digit (at \".\")"),
        ("1..2.3", "IPv4 field must have at least one digit (at \".2.3\")"),
        ("0x7f.0.0.1", "unexpected character (at \"x7f.0.0.1\")"),
        ("fe80::1%", "zone must be a non-empty string"),
        ("2001:db8:::68", "each colon-separated field must have at least one digit (at \":68\")"),
        ("12345::", "each group must have 4 or less digits (at \"12345::\")"),
        ("1::2::3", "multiple :: in address (at \":3\")"),
        ("1:2:3:4:5:6:7:8:9", "trailing garbage after address (at \"9\")"),
        ("1:2:3:4:5:6:7:8:", "colon must be followed by more characters (at \":\")"),
        ("1:2:3:4:5:6:7", "address string too short"),
        ("1:2:3:4:5:6:7:8::", "the :: must expand to at least one field of zeros"),
        ("1:g::", "each colon-separated field must have at least one digit (at \"g::\")"),
        ("1x::", "unexpected character, want colon (at \"x::\")"),
        ("1:1.2.3.4", "embedded IPv4 address must replace the final 2 fields of the address (at \"1.2.3.4\")"),
        ("::1.2.3", "IPv4 address too short"),
    ] {
        let parse = format!("ParseAddr({text:?}): {why}");
        let expected = format!("IP Address {text:?} parse error during conversion from string: {parse}");
        assert_eq!(outcome(&format!("ip('{text}')")), Err(expected.clone()), "{text}");
        assert_eq!(outcome(&format!("cidr('::/0').containsIP('{text}')")), Err(expected), "{text}");
        let of_prefix = outcome(&format!("cidr('{text}/8')")).expect_err("no address, no network");
        assert!(of_prefix.ends_with(&format!("netip.ParsePrefix(\"{text}/8\"): {parse}")), "{of_prefix}");
    }
    for (text, why) in [
        ("192.168.0.0/", "bad bits after slash: \"\""),
        ("10.0.0.0/08", "bad bits after slash: \"08\""),
        ("10.0.0.0/300", "prefix length out of range"),
        ("10.0.0.0", "no '/'"),
        ("fe80::1%eth0/64", "IPv6 zones cannot be present in a prefix"),
    ] {
        let twice = "network address parse error during conversion from string: ".repeat(2);
        let expected = format!("{twice}netip.ParsePrefix({text:?}): {why}");
        assert_eq!(outcome(&format!("cidr('{text}')")), Err(expected), "{text}");
    }
}

#[test]
fn urls() {
    all_true(&[
        "url('https://user:pass@example.com:80/path?query=val#fragment').getHost() == 'example.com:80'",
        "url('https://example.com:80/').getHostname() == 'example.com' && url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://[::1]/').getHost() == '[::1]' && url('https://[::1]/').getHostname() == '::1'",
        "url('https://example.com:80/').getPort() == '80' && url('https://example.com/').getPort() == '' && url('/path').getPort() == ''",
        "url('HTTPS://example.com').getScheme() == 'https' && url('/path').getScheme() == ''",
        "url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/' && url('https://example.com').getEscapedPath() == ''",
        "url('https://example.com/path?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}",
        "url('https://example.com/?key with spaces=value+x%21').getQuery() == {'key with spaces': ['value x!']}",
        "url('https://example.com/path?').getQuery() == {} && url('https://example.com/path').getQuery() == {}",
        "isURL('https://user:pass@example.com:80/path?query=val#fragment') && isURL('/absolute-path') && !isURL('https://a:b:c/') && !isURL('../relative-path')",
    ]);
    for (text, why) in [
        ("", "empty url"),
        ("../relative-path", "invalid URI for request"),
        ("1http://x", "invalid URI for request"),
        (":x", "missing protocol scheme"),
        ("http://[::1", "missing ']' in host"),
        ("http://a:b/", "invalid port \":b\" after host"),
        ("http://a b", "invalid character \" \" in host name"),
        ("http://a#b", "invalid character \"#\" in host name"),
        ("http://a{b@c/", "net/url: invalid userinfo"),
        ("/a%zzb", "invalid URL escape \"%zz\""),
        ("/a%1", "invalid URL escape \"%1\""),
    ] {
        let parse = format!("parse {text:?}: {why}");
        let expected = format!("URL parse error during conversion from string: {parse}");
        assert_eq!(outcome(&format!("url('{text}')")), Err(expected), "{text}");
        assert_eq!(outcome(&format!("format.uri().validate('{text}').value()[0]")), Ok(parse.into()), "{text}");
    }
}

#[test]
fn versions_images_and_formats() {
    all_true(&[
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3-rc.1').patch() == 3",
        "semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1')) && semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0').compareTo(semver('1.0.0')) == 0",
        "isSemver('1.0.0') && !isSemver('v1.0') && isSemver('v1.0', true) && semver('v01.02', true) == semver('1.2.0') && !isSemver('1.0-rc', true)",
        "image('nginx').registry() == 'index.docker.io' && image('nginx').tag() == 'latest' && !image('nginx').containsDigest()",
        "image('registry.k8s.io/a/b:v1').repository() == 'a/b' && image('registry.k8s.io/a/b:v1').identifier() == 'v1'",
        "image('r.io/ab@sha256:6aefddb645ee6963afd681b1845c661d0ea4c3b20ab9db86d9e753b203d385f2').containsDigest()",
        "image('docker.io/nginx').registry() == 'index.docker.io' && image('docker.io/nginx').repository() == 'library/nginx'",
        "image('localhost/ab').repository() == 'localhost/ab' && image('ab:').tag() == 'latest' && image('a.b//cd').repository() == '/cd'",
        "isImage('localhost:5000/ab:b') && !isImage('registry.k8s.io/ab:@') && !isImage('a') && !isImage('r.io/AB')",
        "!format.dns1123Label().validate('my-name').hasValue() && format.dns1123Label().validate('My.Name').hasValue()",
        "format.named('dns1123Subdomain').value().validate('a.b') == optional.none() && !format.named('nope').hasValue()",
        "format.uri().validate('x').hasValue() && !format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()",
        "!format.date().validate('2021-01-01').hasValue() && format.date().validate('2021-13-01').hasValue() && format.byte().validate('a').value() == ['invalid base64']",
        "!format.datetime().validate('2021-01-01T00:00:00Z').hasValue() && !format.labelValue().validate('').hasValue() && !format.dns1123LabelPrefix().validate('a-').hasValue()",
        "!format.dns1123SubdomainPrefix().validate('a.-').hasValue() && format.dns1035LabelPrefix().validate('a b-').hasValue()",
        "!format.uuid().validate('123e4567e89b-12d3-a456426614174000').hasValue() && format.byte().validate('').hasValue()",
        "!format.datetime().validate('2020-01-01t00:00:00z').hasValue() && format.datetime().validate('2020-01-01T00:00:60Z').hasValue()",
    ]);
    all_fail(&[
        ("semver('')", "Version string empty"),
        ("semver('v1.0')", "No Major.Minor.Patch elements found"),
        ("semver('v1.0.0')", "Invalid character(s) found in major number \"v1\""),
        ("semver('1.01.0')", "Minor number must not contain leading zeroes \"01\""),
        ("semver('1.0.x-rc')", "Invalid character(s) found in patch number \"x\""),
        ("semver('1.0.')", "strconv.ParseUint: parsing \"\": invalid syntax"),
        ("semver('1.0.0-')", "Prerelease is empty"),
        ("semver('1.0.0-01')", "Numeric PreRelease version must not contain leading zeroes \"01\""),
        ("semver('1.0.0-a_b')", "Invalid character(s) found in prerelease \"a_b\""),
        ("semver('1.0.0+a..b')", "Build meta data is empty"),
        ("semver('1.0-rc', true)", "short version cannot contain PreRelease/Build meta data"),
        ("image('r.io/ab:@')", "could not parse reference: r.io/ab:@"),
    ]);
}
