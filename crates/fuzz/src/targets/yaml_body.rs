//! A YAML body: it never grows beyond its bounds, and means what the same object in JSON means.

use gantry_api::decode;

use crate::body;

pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = decode::yaml_documents(text);
    }
    if let Ok((applied, duplicates)) = decode::applied(bytes) {
        assert!(duplicates.len() <= 32, "{} duplicates are listed", duplicates.len());
        if let (Ok((plain, _)), true) = (decode::yaml(bytes), duplicates.is_empty()) {
            // Nothing at all is an empty configuration.
            assert!(applied == plain || plain.is_null(), "applied {applied} or created {plain}");
        }
    }
    let Ok((object, _)) = decode::yaml(bytes) else { return };
    let json = object.to_string();
    let (again, _) = decode::json(json.as_bytes(), true).expect("what YAML said can be said in JSON");
    assert_eq!(again, object, "YAML and JSON");
    body::conformed(body::kind_of(&object).unwrap_or_else(|| body::kind(*choice)), object);
}
