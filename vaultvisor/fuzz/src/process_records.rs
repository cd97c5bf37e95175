//! What keepers write down of a run: `run.json`, `exit.json`, and the record in the machine-wide lock file, which another
//! user may have written.

use vaultvisor::process::{
    lock::Record,
    records::{ExitRecord, RunRecord},
};

use super::is_fit_for_people;

/// What is read is written and read again as the same, and who holds a lock is told in words that are fit for people.
pub fn holds(data: &[u8]) {
    if let Ok(run) = serde_json::from_slice::<RunRecord>(data) {
        let text = serde_json::to_vec(&run).expect("every record can be written");
        assert_eq!(serde_json::from_slice::<RunRecord>(&text).expect("what is written is read"), run);
        assert_eq!((run.run().run_id, run.run().checksum), (run.lock.run_id.clone(), run.checksum));
        run.stop_signal();
    }
    if let Ok(exit) = serde_json::from_slice::<ExitRecord>(data) {
        let text = serde_json::to_vec(&exit).expect("every record can be written");
        assert_eq!(serde_json::from_slice::<ExitRecord>(&text).expect("what is written is read"), exit);
    }
    if let Ok(lock) = serde_json::from_slice::<Record>(data) {
        let text = serde_json::to_vec(&lock).expect("every record can be written");
        assert_eq!(serde_json::from_slice::<Record>(&text).expect("what is written is read"), lock);
        is_fit_for_people(&lock.holder(), "home=");
    }
}
