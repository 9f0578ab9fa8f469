//! How the windows of this vault look: the one thing kept here that no group knows of.

use hearth_protocol::cbor;
use minicbor::{Decode, Encode};

use super::Effects;
use crate::{
    app::{Answer, Kind, Look, Refusal},
    store::{Bucket, Table, Write},
};

/// The row's key.
pub(super) const KEY: &[u8] = b"window";
/// The longest row that is read back.
const ROW_MAX: usize = 64;
const ZOOM: std::ops::RangeInclusive<u16> = 80..=200;

/// What was chosen; `None` where nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Settings {
    #[n(0)]
    look: Option<u8>,
    #[n(1)]
    zoom_percent: Option<u16>,
    #[n(2)]
    still: Option<bool>,
}

impl Settings {
    /// What an earlier run kept; a row that does not read is as none.
    pub(super) fn read(row: &[u8]) -> Self {
        cbor::from_slice(row, ROW_MAX).unwrap_or_default()
    }

    /// Changes what is given, and keeps it.
    pub(super) fn set(
        &mut self,
        look: Option<Look>,
        zoom_percent: Option<u16>,
        still: Option<bool>,
        fx: &mut Effects,
    ) -> Result<Answer, Refusal> {
        if zoom_percent.is_some_and(|zoom| !ZOOM.contains(&zoom)) {
            return Err(Refusal::new(Kind::Invalid, "the zoom is 80 to 200 per cent"));
        }
        let wanted = Self {
            look: look.map(code).or(self.look),
            zoom_percent: zoom_percent.or(self.zoom_percent),
            still: still.or(self.still),
        };
        if wanted != *self {
            *self = wanted;
            let (bucket, value) = (Bucket { group: None, expires: None }, Some(cbor::to_vec(self)));
            fx.persist.push(Write { bucket, table: Table::Setting, key: KEY.to_vec(), value });
        }
        Ok(Answer::Done {})
    }

    pub(super) fn answer(self) -> Answer {
        Answer::Settings { look: self.look.and_then(named), zoom_percent: self.zoom_percent, still: self.still }
    }
}

fn code(look: Look) -> u8 {
    match look {
        Look::System => 0,
        Look::Light => 1,
        Look::Dark => 2,
    }
}

fn named(code: u8) -> Option<Look> {
    [Look::System, Look::Light, Look::Dark].into_iter().find(|look| self::code(*look) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_and_the_row_reads_back() {
        let (mut settings, mut fx) = (Settings::default(), Effects::default());
        assert!(settings.set(Some(Look::Dark), None, None, &mut fx).is_ok());
        assert!(settings.set(None, Some(150), Some(true), &mut fx).is_ok());
        assert_eq!(fx.persist.len(), 2);
        let row = fx.persist.last().and_then(|write| write.value.clone()).unwrap();
        assert_eq!(Settings::read(&row), settings);
        assert_eq!(
            Settings::read(&row).answer(),
            Answer::Settings { look: Some(Look::Dark), zoom_percent: Some(150), still: Some(true) }
        );
    }

    #[test]
    fn a_zoom_out_of_range_is_refused_and_nothing_is_written() {
        let (mut settings, mut fx) = (Settings::default(), Effects::default());
        for zoom in [0, 79, 201, u16::MAX] {
            assert!(settings.set(Some(Look::Dark), Some(zoom), None, &mut fx).is_err());
        }
        assert_eq!((settings, fx.persist.len()), (Settings::default(), 0));
        assert_eq!(Settings::read(b"not a row"), Settings::default());
    }
}
