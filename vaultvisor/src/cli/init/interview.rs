//! Asks, on a terminal, for what a configuration needs and no option has given.

use std::io::{self, BufRead, Write};

use anyhow::anyhow;

use super::{
    super::{Exit, Failure},
    draft::Draft,
};
use crate::config::{Network, Settings, networks};

/// No answer is longer: a client's arguments.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Asks until the answers make a valid configuration; the earlier ones are offered again.
pub(super) fn hold(
    given: Draft,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<(String, Settings), Failure> {
    let mut draft = given.clone();
    loop {
        draft = ask_all(&given, draft, &mut Asking { input, output })?;
        match draft.finish() {
            Ok(finished) => return Ok(finished),
            Err(problems) => {
                writeln!(output, "\nThis would be no valid configuration:")?;
                problems.iter().try_for_each(|problem| writeln!(output, "  {problem}"))?;
                writeln!(output, "Once more; Enter takes what was answered before.")?;
            }
        }
    }
}

/// Asks for everything that was not given; answered before, it is the answer to an empty line.
fn ask_all(
    given: &Draft,
    mut draft: Draft,
    asking: &mut Asking<'_, impl BufRead, impl Write>,
) -> Result<Draft, Failure> {
    if given.network.is_none() {
        let known: Vec<String> = networks::built_in().into_keys().collect();
        let question = format!("Network ({}, or a new one's name)", known.join(", "));
        draft.network = asking.text(&question, draft.network.as_deref().unwrap_or("kintsugi"))?;
    }
    let network = draft.network.clone().unwrap_or_default();
    let built_in = networks::built_in().remove(&network);
    let lacks = |what: fn(&Network) -> bool| built_in.as_ref().is_none_or(what);
    if given.account.is_none() && network != networks::DEV {
        let before = draft.account.as_deref().unwrap_or("");
        draft.account = asking.text("Account of the vault (64 hexadecimal digits or SS58)", before)?;
    }
    if given.endpoints.is_empty() && lacks(|network| network.endpoints.is_empty()) {
        let question = "Websocket URLs of nodes, with blanks between them";
        draft.endpoints = asking.words(question, &draft.endpoints)?;
    }
    if given.release_urls.is_empty() && lacks(|network| network.release_urls.is_empty()) {
        let question = "URLs of the binaries, such as https://example.org/{version}/vault-{network}";
        draft.release_urls = asking.words(question, &draft.release_urls)?;
    }
    if given.home.is_none() {
        let home = draft.home();
        draft.home = asking.text("Folder for everything that vaultvisor keeps", &home)?;
    }
    if given.http.is_none() {
        let question = "Address to serve the status on over HTTP, such as 127.0.0.1:9616 (- for none)";
        let answer = asking.text(question, draft.http.as_deref().unwrap_or("-"))?;
        draft.http = answer.filter(|answer| answer != "-");
    }
    if given.args.is_empty() {
        let question =
            "Arguments of the vault client, with blanks between them (can be written into the file later)";
        draft.args = asking.words(question, &draft.args)?;
    }
    Ok(draft)
}

struct Asking<'a, I, O> {
    input: &'a mut I,
    output: &'a mut O,
}

impl<I: BufRead, O: Write> Asking<'_, I, O> {
    /// One line; an empty one means what is offered, and nothing if that is empty.
    fn text(&mut self, question: &str, offered: &str) -> Result<Option<String>, Failure> {
        let shown = if offered.is_empty() { String::new() } else { format!(" [{offered}]") };
        write!(self.output, "{question}{shown}: ")?;
        self.output.flush()?;
        let mut line = Vec::new();
        io::Read::take(&mut *self.input, MAX_ANSWER_BYTES).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            let what = anyhow!("found the end of the input, expected an answer; nothing was written");
            return Err(Exit::Usage.failure()(what));
        }
        let line = String::from_utf8(line).map_err(Exit::Usage.failure())?;
        let answer = match line.trim() {
            "" => offered,
            answer => answer,
        };
        Ok((!answer.is_empty()).then(|| answer.to_owned()))
    }

    fn words(&mut self, question: &str, offered: &[String]) -> Result<Vec<String>, Failure> {
        let answer = self.text(question, &offered.join(" "))?.unwrap_or_default();
        Ok(answer.split_whitespace().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    fn talk(given: Draft, answers: &str) -> (Result<(String, Settings), Failure>, String) {
        let mut output = Vec::new();
        let outcome = hold(given, &mut answers.as_bytes(), &mut output);
        (outcome, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn the_answers_make_a_configuration() {
        let answers = format!("interlay\n{ALICE}\n/var/lib/vv\n127.0.0.1:9616\n--keyfile /k --keyname 0x1\n");
        let (outcome, said) = talk(Draft::default(), &answers);
        let (_, settings) = outcome.expect("valid");
        let vault = &settings.vaults["interlay-1"];
        assert_eq!(vault.args, ["--keyfile", "/k", "--keyname", "0x1"]);
        assert_eq!(settings.home, PathBuf::from("/var/lib/vv"));
        assert!(settings.http.is_some());
        assert!(!said.contains("Websocket"), "what is built in is not asked for: {said}");
    }

    #[test]
    fn only_what_was_not_given_is_asked_for() {
        let given = Draft {
            network: Some("dev".into()),
            endpoints: vec!["ws://127.0.0.1:9944".into()],
            home: Some("/h".into()),
            http: Some("127.0.0.1:1".into()),
            args: vec!["--x".into()],
            ..Draft::default()
        };
        let (outcome, said) = talk(given, "http://127.0.0.1:8080/{version}/vault\n");
        assert_eq!(outcome.expect("valid").1.networks["dev"].release_urls.len(), 1);
        assert_eq!(said.matches(": ").count(), 1, "one question: {said}");
    }

    #[test]
    fn a_wrong_answer_is_told_and_asked_for_again_with_the_others_kept() {
        let answers = format!("kintsugi\nnobody\n/h\n\n\n\n{ALICE}\n\n\n\n");
        let (outcome, said) = talk(Draft::default(), &answers);
        let (_, settings) = outcome.expect("valid in the end");
        assert_eq!((settings.home, settings.http), (PathBuf::from("/h"), None));
        assert!(said.contains("vaults.kintsugi-1.account: found \"nobody\""), "{said}");
    }

    #[test]
    fn the_end_of_the_input_ends_the_questions() {
        let (outcome, _) = talk(Draft::default(), "kintsugi\n");
        let failure = outcome.expect_err("no answer");
        assert_eq!(failure.exit, Exit::Usage);
    }
}
