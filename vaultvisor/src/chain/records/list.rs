//! The records of a network: a list, so that a chain can move from one to another while vaults run.

use super::{
    DEFAULT_CLIENT, DEFAULT_PALLET, PendingRelease, Record, RecordError, RecordName, Slots, Stated,
    StorageKey,
};

/// A network's records, never empty, each kind once, in the order in which they count.
///
/// The first that states a release in force wins. Once that was `vault-release`, there is no way back: the
/// older record may stay on the chain with what it last said, and a node that hides the newer one must not
/// take us back to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    order: Vec<RecordName>,
    /// The name of `pallet-vault-release` in the runtime.
    pub pallet: String,
    /// The client's name in `ClientsInfo`.
    pub client: String,
    moved_to_vault_release: bool,
}

/// What the records state together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The record that won; the first one while none states a release in force.
    pub record: RecordName,
    /// The release that it states. A pending release may be of a record before it: governance schedules the
    /// first release of a new record before it sets one.
    pub stated: Stated,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            order: vec![RecordName::VaultRelease],
            pallet: DEFAULT_PALLET.to_owned(),
            client: DEFAULT_CLIENT.to_owned(),
            moved_to_vault_release: false,
        }
    }
}

impl Records {
    /// Records in that order, under the names that runtimes usually give them; `None` for an empty list or one
    /// that has a record twice.
    pub fn new(order: Vec<RecordName>) -> Option<Self> {
        Self::default().with_order(order)
    }

    /// The same pallet and client with other records, as [`new`](Self::new) takes them.
    pub fn with_order(self, order: Vec<RecordName>) -> Option<Self> {
        let is_twice = |(index, record)| order[..index].contains(record);
        let is_good = !order.is_empty() && !order.iter().enumerate().any(is_twice);
        is_good.then_some(Self { order, ..self })
    }

    /// All that we know, ours first and under that name: for a chain of which nothing else is known.
    pub fn all(pallet: String) -> Self {
        Self { order: RecordName::ALL.to_vec(), pallet, ..Self::default() }
    }

    /// Their names, in order.
    pub fn order(&self) -> &[RecordName] {
        &self.order
    }

    /// The records, in order.
    pub fn each(&self) -> impl Iterator<Item = Record> {
        self.order.iter().map(|name| match name {
            RecordName::VaultRelease => Record::VaultRelease { pallet: self.pallet.clone() },
            RecordName::ClientsInfo => Record::ClientsInfo { client: self.client.clone() },
        })
    }

    /// Takes note that a record stated the release in force; what was seen before a restart comes in here too.
    /// A list without `vault-release` is an operator's own word, and stays as it is.
    pub fn saw(&mut self, record: RecordName) {
        self.moved_to_vault_release |=
            record == RecordName::VaultRelease && self.order.contains(&RecordName::VaultRelease);
    }

    /// Every key to read at a block; always the same ones.
    pub fn keys(&self) -> Vec<StorageKey> {
        self.each()
            .flat_map(|record| {
                let Slots { current, pending } = record.keys();
                [current, pending]
            })
            .collect()
    }

    /// Decodes what was found under the [`keys`](Self::keys), in their order; `None` is a key without a value.
    ///
    /// A record that does not count any more, or not yet, is not decoded, so nothing in it can do harm.
    pub fn decode(&self, values: &[Option<Vec<u8>>]) -> Result<Reading, RecordError> {
        let mut planned: Option<PendingRelease> = None;
        for (index, record) in self.each().enumerate() {
            if self.moved_to_vault_release && record.name() != RecordName::VaultRelease {
                continue;
            }
            let value = |slot: usize| values.get(2 * index + slot).cloned().flatten();
            let stated = record.decode(&Slots { current: value(0), pending: value(1) })?;
            planned = planned.or(stated.pending);
            if stated.current.is_some() {
                let stated = Stated { current: stated.current, pending: planned };
                return Ok(Reading { record: record.name(), stated });
            }
        }
        let record = if self.moved_to_vault_release { RecordName::VaultRelease } else { self.order[0] };
        Ok(Reading { record, stated: Stated { current: None, pending: planned } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [RecordName; 2] = [RecordName::VaultRelease, RecordName::ClientsInfo];

    fn both() -> Records {
        Records::new(BOTH.to_vec()).expect("two different ones")
    }

    /// `CurrentRelease` of `pallet-vault-release`.
    fn ours() -> Option<Vec<u8>> {
        Some([&[7, 0, 0, 0, 0, 0, 0, 0, 3 << 2, b'2', b'.', b'0'][..], &[2; 32], &[0]].concat())
    }

    /// `PendingRelease` of `pallet-vault-release`.
    fn ours_pending() -> Option<Vec<u8>> {
        Some([&[3 << 2, b'3', b'.', b'0'][..], &[3; 32], &[0], &[9, 0, 0, 0]].concat())
    }

    /// A release of `ClientsInfo`, in either slot.
    fn theirs(checksum: u8) -> Option<Vec<u8>> {
        Some([&[0][..], &[checksum; 32]].concat())
    }

    fn read(records: &Records, values: [Option<Vec<u8>>; 4]) -> (RecordName, Option<u8>, Option<u8>) {
        let reading = records.decode(&values).expect("decodes");
        let current = reading.stated.current.map(|release| release.binary_checksum.0[0]);
        let pending = reading.stated.pending.map(|release| release.binary_checksum.0[0]);
        (reading.record, current, pending)
    }

    #[test]
    fn a_list_is_never_empty_and_has_each_record_once() {
        assert_eq!(Records::new(Vec::new()), None);
        assert_eq!(Records::new(vec![RecordName::ClientsInfo, RecordName::ClientsInfo]), None);
        assert_eq!(Records::default().order(), [RecordName::VaultRelease]);
    }

    #[test]
    fn keys_come_two_for_each_record_in_order() {
        let [ours, theirs] = BOTH.map(|record| Records::new(vec![record]).expect("one").keys());
        assert_eq!(both().keys(), [ours, theirs].concat());
    }

    #[test]
    fn the_first_record_that_holds_a_release_wins() {
        use RecordName::{ClientsInfo, VaultRelease};
        let records = both();
        assert_eq!(read(&records, [None, None, None, None]), (VaultRelease, None, None));
        assert_eq!(read(&records, [None, None, theirs(5), theirs(6)]), (ClientsInfo, Some(5), Some(6)));
        assert_eq!(read(&records, [ours(), None, theirs(5), theirs(6)]), (VaultRelease, Some(2), None));
        assert_eq!(
            read(&records, [ours(), ours_pending(), theirs(5), theirs(6)]),
            (VaultRelease, Some(2), Some(3))
        );
    }

    #[test]
    fn a_first_release_that_is_only_scheduled_does_not_hide_what_is_in_force() {
        use RecordName::ClientsInfo;
        assert_eq!(
            read(&both(), [None, ours_pending(), theirs(5), theirs(6)]),
            (ClientsInfo, Some(5), Some(3))
        );
    }

    #[test]
    fn there_is_no_way_back_from_vault_release() {
        use RecordName::{ClientsInfo, VaultRelease};
        let mut records = both();
        records.saw(ClientsInfo);
        assert_eq!(read(&records, [None, None, theirs(5), None]), (ClientsInfo, Some(5), None));
        records.saw(VaultRelease);
        records.saw(ClientsInfo);
        assert_eq!(read(&records, [None, None, theirs(5), theirs(6)]), (VaultRelease, None, None));
        assert_eq!(read(&records, [ours(), None, theirs(5), None]), (VaultRelease, Some(2), None));
        // Whatever the order.
        let mut records = Records::new(vec![ClientsInfo, VaultRelease]).expect("two");
        records.saw(VaultRelease);
        assert_eq!(read(&records, [theirs(5), None, ours(), None]), (VaultRelease, Some(2), None));
        // An operator who names the old record alone means it.
        let mut records = Records::new(vec![ClientsInfo]).expect("one");
        records.saw(VaultRelease);
        assert_eq!(records.decode(&[theirs(5), None]).expect("decodes").record, ClientsInfo);
    }

    #[test]
    fn bytes_that_do_not_fit_are_reported_and_never_passed_over_for_the_next_record() {
        let garbage = || Some(vec![1, 2, 3]);
        assert!(both().decode(&[garbage(), None, theirs(5), None]).is_err());
        assert!(both().decode(&[None, None, garbage(), None]).is_err());
        // What does not count does no harm.
        assert_eq!(
            read(&both(), [ours(), None, garbage(), garbage()]),
            (RecordName::VaultRelease, Some(2), None)
        );
    }
}
