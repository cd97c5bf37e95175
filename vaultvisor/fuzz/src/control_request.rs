//! One line on the control socket: what a daemon is asked for, and what it answers.

use vaultvisor::control::{MAX_REQUEST_BYTES, Reply, Request};

use super::is_fit_for_people;

/// A request is one that can be sent again as the same, or is refused in words that say what was expected.
pub fn holds(data: &[u8]) {
    match Request::parse(data) {
        Ok(request) => {
            assert!(data.len() <= MAX_REQUEST_BYTES);
            let text = serde_json::to_vec(&request).expect("every request can be written");
            // Not by `parse`: what was left out is in it, so that it may be too long now.
            assert_eq!(serde_json::from_slice::<Request>(&text).expect("what is written is read"), request);
        }
        Err(said) => is_fit_for_people(&said, "expected"),
    }
    // The answer is read by a program of the same user's, which may be of another version.
    if let Ok(reply) = serde_json::from_slice::<Reply>(data) {
        let text = serde_json::to_vec(&reply).expect("every reply can be written");
        let again = serde_json::from_slice::<Reply>(&text).expect("what is written is read");
        assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&reply));
    }
}
