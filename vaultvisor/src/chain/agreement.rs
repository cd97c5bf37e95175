//! Who stated what at which finalized block, and what that makes true. Pure.
//!
//! Nodes finalize in steps and at different times, so what two of them say last is seldom about the same block. A
//! [`Council`] finds the highest block about which enough of them can be asked, says who is to be asked about it
//! ([`Council::wanted`]), and compares: the chain's identity, the block's hash, its runtime version and the bytes of
//! every value must be the same. What one member says alone, however often, decides nothing.
//!
//! What is remembered is bounded, whatever the members say: so many statements a member, so many agreed blocks.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::source::Head;
use crate::release::GenesisHash;

/// How many statements of a member are remembered beside those about blocks that are still to be agreed on, of which
/// there is one a member at most: enough to be compared with members that lag a little. A member that floods us
/// drives out its own statements only.
const MAX_STATEMENTS: usize = 16;

/// How many agreed blocks are remembered, so that a member that lags a little is compared too.
const MAX_AGREED: usize = 8;

/// What one member states about one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The chain that it says it is.
    pub genesis: GenesisHash,
    /// The finalized block and what is in its state.
    pub head: Head,
}

/// What makes a statement true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// So many members state the same.
    Agreement(usize),
    /// This member states it: a light client, which proves what it says to itself.
    Decides(usize),
}

/// What is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The statement.
    pub statement: Arc<Statement>,
    /// Who made it, in the members' order, who decides before the others.
    pub members: Vec<usize>,
}

/// The members, by their number, and what they stated.
#[derive(Debug)]
pub struct Council {
    rule: Rule,
    members: Vec<Member>,
    /// What became true, oldest first.
    agreed: VecDeque<Agreed>,
}

#[derive(Debug, Default)]
struct Member {
    /// The newest finalized block that it told of.
    tip: Option<u64>,
    /// What it said by block number; `None` if it was asked and could not say.
    answers: BTreeMap<u64, Option<Arc<Statement>>>,
    /// How what it said last about an agreed block differs from what was agreed.
    contradiction: Option<String>,
}

impl Council {
    /// So many members, of whom nothing is known yet.
    pub fn new(rule: Rule, members: usize) -> Self {
        Self {
            rule,
            members: std::iter::repeat_with(Member::default).take(members).collect(),
            agreed: VecDeque::new(),
        }
    }

    /// A member told of its newest finalized block. Answers what has become true with it.
    pub fn newest(&mut self, member: usize, statement: Statement) -> Option<Agreed> {
        let number = statement.head.block.number;
        self.members[member].tip = Some(number);
        self.answer(member, number, Some(statement))
    }

    /// A member answered what it was asked about a block. Answers what has become true with it.
    pub fn answer(&mut self, member: usize, number: u64, statement: Option<Statement>) -> Option<Agreed> {
        self.members[member].answers.insert(number, statement.map(Arc::new));
        self.forget(member);
        let agreed = self.conclude();
        if let Some(agreed) = &agreed {
            self.agreed.push_back(agreed.clone());
            if self.agreed.len() > MAX_AGREED {
                self.agreed.pop_front();
            }
        }
        self.compare();
        agreed
    }

    /// Whom to ask about which finalized blocks, oldest first; asked again until it is answered.
    pub fn wanted(&self, member: usize) -> Vec<u64> {
        let mut numbers = self.compared_at();
        let asked = &self.members[member];
        numbers.retain(|number| asked.tip > Some(*number) && !asked.answers.contains_key(number));
        numbers
    }

    /// How what a member said last about an agreed block differs from what was agreed, if it does.
    pub fn contradiction(&self, member: usize) -> Option<&str> {
        self.members[member].contradiction.as_deref()
    }

    /// The newest block above the agreed ones about which all who have it were heard, enough of them, and too few say the
    /// same; with those members. Nobody can tell then who is right.
    pub fn split(&self) -> Option<(u64, Vec<usize>)> {
        let Rule::Agreement(needed) = self.rule else { return None };
        let numbers = self.compared_at().into_iter().rev().filter(|number| Some(*number) > self.highest());
        numbers.map(|number| (number, self.who_has(number))).find(|(number, members)| {
            let has_said =
                |member: &usize| matches!(self.members[*member].answers.get(number), Some(Some(_)));
            members.len() >= needed && members.iter().all(has_said) && self.agreed_at(*number).is_none()
        })
    }

    fn who_has(&self, number: u64) -> Vec<usize> {
        (0..self.members.len()).filter(|member| self.members[*member].tip >= Some(number)).collect()
    }

    /// The number of the newest agreed block.
    pub fn highest(&self) -> Option<u64> {
        self.agreed.back().map(|agreed| agreed.statement.head.block.number)
    }

    /// The numbers of the blocks that members are compared at, oldest first: those about which enough could agree and
    /// have not yet, and the newest about which they have.
    fn compared_at(&self) -> Vec<u64> {
        let tips = || self.members.iter().filter_map(|member| member.tip);
        let enough = |number: u64| match self.rule {
            Rule::Agreement(needed) => tips().filter(|tip| *tip >= number).count() >= needed,
            Rule::Decides(member) => self.members[member].tip == Some(number),
        };
        let could = tips().filter(|number| Some(*number) > self.highest() && enough(*number));
        let mut numbers: Vec<u64> = could.chain(self.highest()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The highest block about which enough members say the same, if it is above the one before.
    fn conclude(&self) -> Option<Agreed> {
        let mut numbers: Vec<u64> = match self.rule {
            Rule::Agreement(_) => {
                self.members.iter().flat_map(|member| member.answers.keys().copied()).collect()
            }
            Rule::Decides(member) => self.members[member].tip.into_iter().collect(),
        };
        numbers.retain(|number| Some(*number) > self.highest());
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().rev().find_map(|number| self.agreed_at(number))
    }

    fn agreed_at(&self, number: u64) -> Option<Agreed> {
        let said = |member: usize| self.members[member].answers.get(&number)?.as_ref();
        let of = |statement: &Arc<Statement>| Agreed {
            statement: statement.clone(),
            members: (0..self.members.len()).filter(|other| said(*other) == Some(statement)).collect(),
        };
        match self.rule {
            Rule::Agreement(needed) => {
                (0..self.members.len()).filter_map(said).map(of).find(|agreed| agreed.members.len() >= needed)
            }
            Rule::Decides(member) => said(member).map(|statement| {
                let mut agreed = of(statement);
                // Who decides comes first.
                agreed.members.sort_by_key(|other| *other != member);
                agreed
            }),
        }
    }

    /// Forgets the oldest that a member stated, but nothing that would be asked again.
    fn forget(&mut self, member: usize) {
        let needed = self.compared_at();
        let answers = &mut self.members[member].answers;
        while answers.len() > MAX_STATEMENTS + needed.len() {
            let Some(oldest) = answers.keys().find(|number| !needed.contains(number)).copied() else {
                return;
            };
            answers.remove(&oldest);
        }
    }

    /// Compares each member with the newest agreed block that it said something about.
    fn compare(&mut self) {
        for member in &mut self.members {
            let compared = self.agreed.iter().rev().find_map(|agreed| {
                let said = member.answers.get(&agreed.statement.head.block.number)?.as_ref()?;
                Some((said, &agreed.statement))
            });
            if let Some((said, agreed)) = compared {
                member.contradiction = difference(said, agreed);
            }
        }
    }
}

/// How a statement about a block differs from the agreed one.
fn difference(said: &Statement, agreed: &Statement) -> Option<String> {
    let (block, other) = (said.head.block, agreed.head.block);
    if said.genesis != agreed.genesis {
        return Some(format!(
            "it is another chain: expected genesis {}, found {}",
            agreed.genesis, said.genesis
        ));
    }
    if block.hash != other.hash {
        let (hash, other_hash) = (hex::encode(block.hash), hex::encode(other.hash));
        return Some(format!(
            "it says that finalized block {} is 0x{hash}, but it is 0x{other_hash}: another fork, or a lie",
            block.number
        ));
    }
    (said.head != agreed.head).then(|| {
        format!(
            "it states something else than the others in finalized block {}: it does not tell the truth",
            block.number
        )
    })
}

#[cfg(test)]
mod tests;
