//! Points in time. The language knows the years 1 to 9999 to their last nanosecond, which is more than `jiff::Timestamp` holds.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const NANOS: i128 = 1_000_000_000;
/// The first second of the year 1, and the last one of the year 9999.
const SECONDS: std::ops::RangeInclusive<i128> = -62_135_596_800..=253_402_300_799;

/// A point in time between the years 1 and 9999, in nanoseconds since 1970 began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i128);

impl Moment {
    /// When 1970 began.
    pub(crate) const EPOCH: Self = Self(0);

    /// So many nanoseconds after 1970 began, if that is within the bounds.
    #[must_use]
    pub fn from_nanoseconds(nanoseconds: i128) -> Option<Self> {
        SECONDS.contains(&nanoseconds.div_euclid(NANOS)).then_some(Self(nanoseconds))
    }

    /// So many seconds after 1970 began, if that is within the bounds.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        Self::from_nanoseconds(i128::from(seconds) * NANOS)
    }

    /// Nanoseconds since 1970 began.
    #[must_use]
    pub fn nanoseconds(self) -> i128 {
        self.0
    }

    /// Whole seconds since 1970 began.
    pub(crate) fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS) as i64
    }

    /// Moved by nanoseconds.
    pub(crate) fn shifted(self, nanoseconds: i64) -> Option<Self> {
        Self::from_nanoseconds(self.0 + i128::from(nanoseconds))
    }

    /// From a date and time that are so many seconds ahead of UTC.
    pub(crate) fn from_civil(civil: DateTime, ahead_seconds: i64) -> Option<Self> {
        let elapsed = civil.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
        Self::from_nanoseconds(elapsed.as_nanos() - i128::from(ahead_seconds) * NANOS)
    }

    /// Date and time in a zone; `None` beyond the year 9999.
    pub(crate) fn civil(self, zone: &TimeZone) -> Option<DateTime> {
        // At the very end no zone changes its offset any more.
        let near = Timestamp::from_nanosecond(self.0).unwrap_or(Timestamp::MAX);
        let ahead = i64::from(zone.to_offset(near).seconds());
        let elapsed = SignedDuration::new(self.seconds() + ahead, self.0.rem_euclid(NANOS) as i32);
        DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(elapsed).ok()
    }
}
