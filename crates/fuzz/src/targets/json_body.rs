//! A JSON body of one of the kinds: what is read conforms once and for all, and its canonical form is fixed.

use gantry_api::decode;

use crate::body;

pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let Ok((object, _)) = decode::json(bytes, choice % 2 == 0) else { return };
    body::conformed(body::kind_of(&object).unwrap_or_else(|| body::kind(choice / 2)), object);
}
