use super::*;
use crate::chain::FinalizedBlock;

/// What an honest node states about a block.
fn truth(number: u64) -> Statement {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    let head = Head {
        block: FinalizedBlock { number, hash },
        spec_version: 1,
        values: vec![Some(number.to_le_bytes().to_vec()), None],
    };
    Statement { genesis: GenesisHash([1; 32]), head }
}

/// The same block with other bytes in its state.
fn lie(number: u64) -> Statement {
    let mut statement = truth(number);
    statement.head.values[0] = Some(b"lie".to_vec());
    statement
}

/// Nodes that answer what they are asked, up to their newest block.
struct Nodes {
    council: Council,
    /// What each states about a block.
    say: Vec<fn(u64) -> Option<Statement>>,
    /// How often each was asked.
    asked: Vec<usize>,
    /// The newest that became true.
    agreed: Option<Agreed>,
}

impl Nodes {
    fn new(rule: Rule, say: &[fn(u64) -> Option<Statement>]) -> Self {
        let council = Council::new(rule, say.len());
        Self { council, say: say.to_vec(), asked: vec![0; say.len()], agreed: None }
    }

    /// A member finalizes a block; then all are asked until nothing is wanted. Answers the highest agreed number.
    fn finalize(&mut self, member: usize, number: u64) -> Option<u64> {
        let statement = self.say[member](number).expect("its own newest block");
        let agreed = self.council.newest(member, statement);
        self.agreed = agreed.or(self.agreed.take());
        for other in (0..self.say.len()).cycle().take(4 * self.say.len()) {
            for number in self.council.wanted(other) {
                self.asked[other] += 1;
                let agreed = self.council.answer(other, number, self.say[other](number));
                self.agreed = agreed.or(self.agreed.take());
            }
        }
        self.council.highest()
    }

    fn members(&self) -> &[usize] {
        &self.agreed.as_ref().expect("agreed").members
    }

    fn contradicts(&self) -> Vec<usize> {
        (0..self.say.len()).filter(|member| self.council.contradiction(*member).is_some()).collect()
    }
}

const HONEST: fn(u64) -> Option<Statement> = |number| Some(truth(number));
const LIAR: fn(u64) -> Option<Statement> = |number| Some(lie(number));
/// Tells of its newest block, and has no older state.
const FORGETFUL: fn(u64) -> Option<Statement> = |number| (number % 100 == 0).then(|| truth(number));

#[test]
fn one_alone_decides_nothing_and_the_second_does() {
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST]);
    assert_eq!(nodes.finalize(0, 7), None);
    assert_eq!(nodes.finalize(0, 8), None);
    assert_eq!(nodes.finalize(1, 8), Some(8));
    assert_eq!(
        (nodes.members(), nodes.asked.as_slice()),
        (&[0, 1][..], &[0, 0][..]),
        "nobody had to be asked"
    );
}

#[test]
fn nodes_that_skip_different_blocks_are_compared_at_the_lower_ones_newest() {
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST, HONEST]);
    assert_eq!(nodes.finalize(0, 10), None);
    assert_eq!(nodes.finalize(1, 7), Some(7));
    assert_eq!(nodes.asked, [1, 0, 0]);
    assert_eq!(nodes.finalize(2, 8), Some(8));
    assert_eq!(nodes.finalize(1, 13), Some(10));
    assert_eq!(nodes.finalize(2, 11), Some(11));
    assert_eq!(nodes.contradicts(), [0; 0]);
}

#[test]
fn the_highest_that_enough_agree_on_counts_also_with_all_of_three() {
    let mut nodes = Nodes::new(Rule::Agreement(3), &[HONEST, HONEST, HONEST]);
    nodes.finalize(0, 10);
    nodes.finalize(1, 9);
    assert_eq!(nodes.finalize(2, 8), Some(8));
    assert_eq!(nodes.finalize(2, 20), Some(9));
    assert_eq!(nodes.members(), [0, 1, 2]);
}

#[test]
fn a_liar_is_outvoted_and_named_wherever_it_stands() {
    for (order, highest) in [([0, 1, 2], 12), ([2, 0, 1], 12), ([0, 2, 1], 12)] {
        let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST, LIAR]);
        for number in 10..=highest {
            for member in order {
                nodes.finalize(member, number);
            }
        }
        assert_eq!(nodes.council.highest(), Some(highest), "{order:?}");
        assert_eq!(nodes.agreed.as_ref().expect("agreed").statement.head, truth(highest).head);
        assert_eq!(nodes.contradicts(), [2], "{order:?}");
        let said = nodes.council.contradiction(2).expect("a contradiction");
        assert!(said.contains("finalized block 12"), "{said}");
    }
}

#[test]
fn a_liar_far_ahead_neither_decides_nor_holds_up_the_others() {
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST, LIAR]);
    nodes.finalize(2, 1_000_000);
    assert_eq!(nodes.finalize(0, 10), None, "a liar's word for an honest block is not the honest one's");
    assert_eq!(nodes.finalize(1, 9), Some(9));
    assert_eq!(nodes.finalize(1, 10), Some(10));
    assert_eq!(nodes.contradicts(), [2]);
}

#[test]
fn another_fork_and_another_chain_are_told_apart() {
    const FORK: fn(u64) -> Option<Statement> = |number| {
        let mut statement = truth(number);
        statement.head.block.hash = [9; 32];
        Some(statement)
    };
    const ELSEWHERE: fn(u64) -> Option<Statement> =
        |number| Some(Statement { genesis: GenesisHash([2; 32]), ..truth(number) });
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST, FORK, ELSEWHERE]);
    for member in 0..4 {
        nodes.finalize(member, 5);
    }
    assert_eq!((nodes.council.highest(), nodes.members()), (Some(5), &[0, 1][..]));
    assert!(nodes.council.contradiction(2).expect("said").contains("another fork"));
    assert!(nodes.council.contradiction(3).expect("said").contains("another chain"));
}

#[test]
fn who_tells_the_truth_again_contradicts_no_more() {
    const LIED_ONCE: fn(u64) -> Option<Statement> =
        |number| Some(if number == 5 { lie(number) } else { truth(number) });
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST, LIED_ONCE]);
    for member in 0..3 {
        nodes.finalize(member, 5);
    }
    assert_eq!(nodes.contradicts(), [2]);
    for member in 0..3 {
        nodes.finalize(member, 6);
    }
    assert_eq!(nodes.contradicts(), [0; 0]);
}

#[test]
fn who_has_no_older_state_counts_for_its_own_newest_block_only() {
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, FORGETFUL]);
    nodes.finalize(1, 100);
    assert_eq!(nodes.finalize(0, 99), None);
    assert_eq!(nodes.finalize(0, 101), Some(100));
    let asked = nodes.asked.clone();
    nodes.finalize(0, 101);
    assert_eq!(nodes.asked, asked, "who could not answer is not asked again");
}

#[test]
fn a_member_far_ahead_is_asked_once_about_each_block_of_those_that_catch_up() {
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST]);
    for number in 0..100 {
        nodes.finalize(0, 1000 + number);
        assert_eq!(nodes.finalize(1, number), Some(number));
    }
    assert_eq!(nodes.asked, [100, 0]);
}

#[test]
fn what_is_agreed_never_goes_back() {
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST]);
    nodes.finalize(0, 10);
    assert_eq!(nodes.finalize(1, 10), Some(10));
    nodes.finalize(0, 4);
    assert_eq!(nodes.finalize(1, 4), Some(10));
}

#[test]
fn a_light_client_decides_alone_and_who_contradicts_it_is_named() {
    let mut nodes = Nodes::new(Rule::Decides(0), &[HONEST, LIAR, LIAR, HONEST]);
    for member in 1..4 {
        assert_eq!(nodes.finalize(member, 11), None, "however many say the same");
    }
    assert_eq!(nodes.finalize(0, 10), Some(10));
    assert_eq!((nodes.members(), nodes.contradicts()), (&[0][..], vec![1, 2]));
    assert_eq!(nodes.finalize(0, 11), Some(11));
    assert_eq!((nodes.members(), nodes.contradicts()), (&[0, 3][..], vec![1, 2]));
}

#[test]
fn what_is_remembered_is_bounded_whatever_is_said() {
    let mut nodes = Nodes::new(Rule::Agreement(2), &[HONEST, HONEST, LIAR]);
    for number in 0..500 {
        nodes.finalize(0, number);
        nodes.finalize(1, number.saturating_sub(3));
        nodes.finalize(2, number * 1000);
    }
    assert_eq!(nodes.council.highest(), Some(496));
    assert!(nodes.council.agreed.len() <= MAX_AGREED);
    assert!(nodes.council.members.iter().all(|member| member.answers.len() <= MAX_STATEMENTS + 4));
}
