//! Whether the sources of a network are what they should be, once and all of them: for `vaultvisor check`.

use std::time::Duration;

use codec::DecodeAll;
use futures::future::join_all;
use tokio::time::timeout;

use super::{
    ChainView, SourceSettings,
    agreement::{Council, Rule, Statement},
    follow::{Belief, check_genesis, comparing_connector, first_head},
    light_client,
    records::StorageKey,
    source::{Connect, Head, ReleaseSource, SourceError},
};
use crate::{error_chain::Chained, release::GenesisHash};

/// How long one source may take: a connection and a handful of calls, each of which has a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(20);

/// The same for a light client, which has to find peers and to sync first.
const LIGHT_CLIENT_DEADLINE: Duration = Duration::from_secs(120);

/// What was found of a network's sources.
#[derive(Debug)]
pub struct NetworkReport {
    /// Each source with what it says, or what is wrong with it.
    pub sources: Vec<(String, Result<SourceReport, String>)>,
    /// Whether enough of them say the same; `None` where there is only one.
    pub agreement: Option<Result<String, String>>,
}

/// What a source says.
#[derive(Debug)]
pub struct SourceReport {
    /// Its newest finalized block, and what that states.
    pub view: ChainView,
    /// When that block was made by its own word, in milliseconds since 1970; `None` if the chain does not say.
    pub made_unix_ms: Option<u64>,
}

/// Asks every source of a network.
pub async fn check(settings: &SourceSettings) -> NetworkReport {
    check_with(&comparing_connector(settings), settings).await
}

async fn check_with<C: Connect>(connector: &C, settings: &SourceSettings) -> NetworkReport {
    let mut keys = settings.records.keys();
    // Every runtime with a clock keeps it there.
    keys.push(StorageKey::plain("Timestamp", "Now"));
    let sources = settings.sources();
    let asked = join_all(sources.iter().map(async |name| {
        let deadline = if name == light_client::NAME { LIGHT_CLIENT_DEADLINE } else { DEADLINE };
        timeout(deadline, ask(connector, settings, name, &keys))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", deadline.as_secs())))
    }));
    let mut asked = asked.await;
    let agreement = match sources.len() {
        0 | 1 => None,
        _ => Some(compare(settings, &mut asked, &keys).await),
    };
    let told = sources.into_iter().zip(asked);
    let sources = told
        .map(|(name, asked)| (name, asked.and_then(|(_, genesis, head)| report(settings, genesis, &head))));
    let sources = sources
        .map(|(name, told)| {
            let told = told.map(|report| SourceReport {
                view: ChainView { source: name.clone(), ..report.view },
                ..report
            });
            (name, told)
        })
        .collect();
    NetworkReport { sources, agreement }
}

type Asked<S> = (S, GenesisHash, Head);

async fn ask<C: Connect>(
    connector: &C,
    settings: &SourceSettings,
    name: &str,
    keys: &[StorageKey],
) -> Result<Asked<C::Source>, String> {
    // The source is named already, where this is told.
    let in_words = |error: SourceError| Chained(&error.problem).to_string();
    let mut source = connector.connect(name).await.map_err(in_words)?;
    let genesis = source.genesis();
    check_genesis(settings.genesis, genesis).map_err(|problem| problem.to_string())?;
    let head = first_head(&mut source, keys).await.map_err(in_words)?;
    Ok((source, genesis, head))
}

fn report(settings: &SourceSettings, genesis: GenesisHash, head: &Head) -> Result<SourceReport, String> {
    let mut belief = Belief::new(settings.records.clone(), settings.known);
    let view = belief.take("", genesis, head).map_err(|doubt| doubt.text().to_owned())?.clone();
    let now = head.values.last().cloned().flatten();
    let made_unix_ms = now.and_then(|bytes| u64::decode_all(&mut bytes.as_slice()).ok());
    Ok(SourceReport { view, made_unix_ms })
}

/// Asks those that are ahead about the block of those that are behind.
async fn compare<S: ReleaseSource>(
    settings: &SourceSettings,
    asked: &mut [Result<Asked<S>, String>],
    keys: &[StorageKey],
) -> Result<String, String> {
    let (needed, rule) = match settings.rule() {
        // Also where one is enough, it is worth knowing whether they say the same.
        Rule::Agreement(needed) => (needed, Rule::Agreement(needed.max(2))),
        decides => (1, decides),
    };
    if let Rule::Decides(member) = rule
        && asked[member].is_err()
    {
        return Err("the light client decides, and cannot be read".to_owned());
    }
    let reached = asked.iter().filter(|asked| asked.is_ok()).count();
    if reached < needed {
        return Err(format!("{needed} sources must agree, {reached} can be read"));
    }
    if reached < 2 {
        return Ok(
            "one source is enough, and only one can be read: there is nothing to compare it with".to_owned()
        );
    }
    let mut council = Council::new(rule, asked.len());
    let mut agreed = None;
    for (member, asked) in asked.iter().enumerate() {
        if let Ok((_, genesis, head)) = asked {
            agreed = council.newest(member, Statement { genesis: *genesis, head: head.clone() }).or(agreed);
        }
    }
    // Each answer may bring one more question for each of the others.
    for _ in 0..asked.len() {
        for (member, asked) in asked.iter_mut().enumerate() {
            let Ok((source, genesis, _)) = asked else { continue };
            for number in council.wanted(member) {
                let head =
                    timeout(DEADLINE, source.read_at(number, keys)).await.ok().and_then(Result::ok).flatten();
                let statement = head.map(|head| Statement { genesis: *genesis, head });
                agreed = council.answer(member, number, statement).or(agreed);
            }
        }
    }
    let names = settings.sources();
    let contradictions: Vec<String> = (0..asked.len())
        .filter_map(|member| Some(format!("{}: {}", names[member], council.contradiction(member)?)))
        .collect();
    match agreed {
        _ if !contradictions.is_empty() => Err(contradictions.join("; ")),
        Some(agreed) if matches!(rule, Rule::Decides(_)) => Ok(format!(
            "the light client decides; no endpoint contradicts it at finalized block {}",
            agreed.statement.head.block.number
        )),
        Some(agreed) => Ok(format!(
            "{} of {} say the same at finalized block {}",
            agreed.members.len(),
            names.len(),
            agreed.statement.head.block.number
        )),
        None => Err(format!("no {} of the sources say the same about any finalized block", needed.max(2))),
    }
}
