//! The two headers of an answer that say something about the rest of a transfer.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, RETRY_AFTER};

/// Whether an answer with status 206 is the whole rest of a file from this byte on (RFC 9110, 14.4).
///
/// A server may send less than it was asked for, or something else: then nothing of it is used.
pub(super) fn is_rest_from(headers: &HeaderMap, first: u64) -> bool {
    let Some((begin, end, total)) = content_range(headers) else { return false };
    let Some(length) = end.checked_sub(begin).and_then(|length| length.checked_add(1)) else { return false };
    let said = headers.get(CONTENT_LENGTH).map(|said| said.to_str().ok().and_then(|said| said.parse().ok()));
    begin == first
        && total.is_none_or(|total: u64| end.checked_add(1) == Some(total))
        && said.is_none_or(|said| said == Some(length))
}

/// `bytes 100-199/200`, or `/*` where the length is not known.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let (begin, end) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((begin.parse().ok()?, end.parse().ok()?, total))
}

/// How long a server asks to be left alone: seconds or a date (RFC 9110, 10.2.3). What is neither is ignored.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // A date that is over asks for nothing.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderName;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn only_the_whole_rest_is_taken_for_it() {
        for good in ["bytes 100-199/200", "bytes 100-199/*"] {
            assert!(is_rest_from(&headers(&[(CONTENT_RANGE, good)]), 100), "{good}");
        }
        for bad in [
            "bytes 0-199/200",
            "bytes 99-199/200",
            "bytes 100-149/200",
            "bytes 100-199/300",
            "bytes 100-99/100",
            "bytes 100-18446744073709551615/18446744073709551616",
            "bytes */200",
            "bytes 100-/200",
            "items 100-199/200",
            "bytes 100-199",
            "",
        ] {
            assert!(!is_rest_from(&headers(&[(CONTENT_RANGE, bad)]), 100), "{bad}");
        }
        assert!(!is_rest_from(&HeaderMap::new(), 100));
        let lies = [(CONTENT_RANGE, "bytes 100-199/200"), (CONTENT_LENGTH, "50")];
        assert!(!is_rest_from(&headers(&lies), 100));
    }

    #[test]
    fn a_server_may_ask_for_seconds_or_until_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = |value| retry_after(&headers(&[(RETRY_AFTER, value)]), now);
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO), "it is over");
        for nothing in ["soon", "-1", "1.5", ""] {
            assert_eq!(asked(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
