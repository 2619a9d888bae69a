//! Values: their canonical form, and the parser's settings on which it rests.

use aura_core::canonical::{ingest, to_string};
use aura_core::limits::VALUE_NESTING;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Numbers that RFC 8785 writes as it stands here: integers up to 2^53 and every float.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..(1_i64 << 53)).prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no such number", |f| f.is_finite())
            .prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_canonical_form_is_that_of_rfc_8785_below_two_to_the_53rd(value in value()) {
        let oracle = serde_json_canonicalizer::to_string(&value).unwrap();
        prop_assert_eq!(to_string(&value), oracle);
    }
}

#[test]
fn integers_above_two_to_the_53rd_keep_their_digits() {
    assert_eq!(to_string(&json!(9_007_199_254_740_993_i64)), "9007199254740993");
    assert_eq!(to_string(&json!(u64::MAX)), "18446744073709551615");
    assert_eq!(to_string(&json!(i64::MIN)), "-9223372036854775808");
}

#[test]
fn keys_are_sorted_by_utf_16_code_units() {
    // U+1F600 begins with a surrogate, which sorts before U+FB33 although its code point is larger.
    assert_eq!(
        to_string(&json!({ "\u{fb33}": 1, "\u{1f600}": 2, "a": 3 })),
        "{\"a\":3,\"😀\":2,\"\u{fb33}\":1}"
    );
}

#[test]
fn wider_integers_become_texts_that_are_told() {
    let (value, wide) =
        ingest(r#"{"a/b": [18446744073709551616, 1.5], "n": 18446744073709551615, "z": -0}"#)
            .unwrap();
    assert_eq!(value["a/b"][0], "18446744073709551616");
    assert_eq!(value["n"], u64::MAX);
    assert!(value["z"].is_number());
    assert_eq!(wide, ["/a~1b/0"]);
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(ingest(&nested(VALUE_NESTING)).is_ok());
    assert!(ingest(&nested(VALUE_NESTING + 1)).is_err());
}

/// Hashes rest on these settings of serde_json, which any dependency could change for all.
#[test]
fn the_parser_keeps_floats_sorts_keys_and_has_no_arbitrary_precision() {
    let float = "1.7976931348623157e308";
    assert_eq!(serde_json::from_str::<Value>(float).unwrap().as_f64(), Some(f64::MAX));
    let tricky = 0.1_f64 + 0.2;
    let back: Value = serde_json::from_str(&tricky.to_string()).unwrap();
    assert_eq!(back.as_f64().map(f64::to_bits), Some(tricky.to_bits()));
    let keys: Value = serde_json::from_str(r#"{"b": 1, "a": 2}"#).unwrap();
    assert_eq!(keys.to_string(), r#"{"a":2,"b":1}"#, "preserve_order is on");
    let long: Value = serde_json::from_str("1.00000000000000000000001").unwrap();
    assert_eq!(long.to_string(), "1.0", "arbitrary_precision is on");
}
