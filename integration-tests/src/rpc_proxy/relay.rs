//! What passes through one connection, message by message, and what becomes of it. No I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Answer, Behaviour};

/// What becomes of a client's message.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The node gets it.
    Forward(String),
    /// It is answered with this.
    Answer(String),
    /// Nothing.
    Nothing,
}

/// A request that the node has not answered yet.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    /// The storage keys in it.
    keys: Vec<String>,
    delay: Option<Duration>,
    /// Further requests that the node gets in place of this one, the next one first.
    further: VecDeque<String>,
    /// What is answered in place of what it says to the last of them.
    error: Option<Value>,
}

/// What has to be remembered of a connection.
#[derive(Debug, Default)]
pub(super) struct Relay {
    /// By the request's id, as text.
    asked: HashMap<String, Asked>,
    /// The keys that an operation of `chainHead_v1_storage` was asked for.
    operations: HashMap<String, Vec<String>>,
    /// The subscriptions to finalized heads that were told of one.
    told: HashSet<String>,
}

/// That there is no such method, to whoever asked for it.
pub(super) fn refusal(request: &str) -> String {
    let id = serde_json::from_str::<Value>(request).map(|request| request["id"].clone()).unwrap_or_default();
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "Method not found" } })
        .to_string()
}

fn refusal_with(id: &Value, error: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
}

fn result(id: &Value, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

impl Relay {
    /// Takes in a client's message; also tells the method that it asks for.
    pub(super) fn take_request(&mut self, text: &str, behaviour: &Behaviour) -> (Step, Option<String>) {
        let Ok(request) = serde_json::from_str::<Value>(text) else { return (Step::Nothing, None) };
        // Lists of requests are not taken apart, and so must not slip through.
        let Some(method) = request["method"].as_str() else { return (Step::Answer(refusal(text)), None) };
        let (id, params) = (&request["id"], &request["params"]);
        let (delay, further, error) = (None, VecDeque::new(), None);
        let mut asked =
            Asked { method: method.to_owned(), keys: keys(method, params), delay, further, error };
        let step = match behaviour.answer_to(method, params) {
            Some(Answer::Hidden) => Step::Answer(refusal(text)),
            Some(Answer::Never) => Step::Nothing,
            Some(Answer::Garbage) => Step::Answer("\u{1}]]} no JSON".to_owned()),
            Some(Answer::Huge(bytes)) => Step::Answer(result(id, &"0".repeat(*bytes).into())),
            Some(Answer::Result(value)) => Step::Answer(result(id, value)),
            Some(Answer::Error { after, error }) => {
                let call = |(method, own): &(String, Option<Value>)| {
                    let params = own.as_ref().unwrap_or(params);
                    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
                };
                asked.further = after.iter().map(call).collect();
                asked.error = Some(error.clone());
                match asked.further.pop_front() {
                    Some(first) => Step::Forward(first),
                    None => Step::Answer(refusal_with(id, error)),
                }
            }
            Some(Answer::Late(delay)) => {
                asked.delay = Some(*delay);
                Step::Forward(text.to_owned())
            }
            None => match (&behaviour.frozen, method) {
                (Some(frozen), "chain_getFinalizedHead") => {
                    Step::Answer(result(id, &frozen.hash.clone().into()))
                }
                _ => Step::Forward(text.to_owned()),
            },
        };
        let method = asked.method.clone();
        if matches!(step, Step::Forward(_)) {
            self.asked.insert(id.to_string(), asked);
        }
        (step, Some(method))
    }

    /// What the node gets next, if its message is an answer after which it is to get more.
    pub(super) fn next_request(&mut self, text: &str) -> Option<String> {
        let message: Value = serde_json::from_str(text).ok()?;
        self.asked.get_mut(&message.get("id")?.to_string())?.further.pop_front()
    }

    /// Takes in a node's message, and answers what the client gets in its place, and how much later.
    pub(super) fn take_message(
        &mut self,
        text: &str,
        behaviour: &Behaviour,
    ) -> (Vec<String>, Option<Duration>) {
        let Ok(mut message) = serde_json::from_str::<Value>(text) else {
            return (vec![text.to_owned()], None);
        };
        if let Some(asked) = message.get("id").and_then(|id| self.asked.remove(&id.to_string())) {
            if let Some(error) = &asked.error {
                return (vec![refusal_with(&message["id"], error)], asked.delay);
            }
            self.change_answer(&asked, &mut message, behaviour);
            return (vec![message.to_string()], asked.delay);
        }
        (self.change_news(message, behaviour), None)
    }

    fn change_answer(&mut self, asked: &Asked, message: &mut Value, behaviour: &Behaviour) {
        match asked.method.as_str() {
            "rpc_methods" => {
                if let Some(methods) = message["result"]["methods"].as_array_mut() {
                    methods.retain(|method| !method.as_str().is_some_and(|method| behaviour.hides(method)));
                }
            }
            "state_getStorage" => {
                if let Some(value) = asked.keys.first().and_then(|key| lie(behaviour, key)) {
                    message["result"] = value.clone().into();
                }
            }
            "chainHead_v1_storage" => {
                if let Some(operation) = message["result"]["operationId"].as_str() {
                    self.operations.insert(operation.to_owned(), asked.keys.clone());
                }
            }
            _ => {}
        }
    }

    /// What a subscription brings.
    fn change_news(&mut self, mut message: Value, behaviour: &Behaviour) -> Vec<String> {
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        match (method.as_str(), &behaviour.frozen) {
            ("chain_finalizedHead", frozen) => {
                let is_first = self.told.insert(message["params"]["subscription"].to_string());
                if let Some(frozen) = frozen {
                    if !is_first {
                        return Vec::new();
                    }
                    message["params"]["result"] = frozen.header.clone();
                }
            }
            ("chainHead_v1_followEvent", frozen) => {
                let event = message["params"]["result"]["event"].as_str().unwrap_or_default().to_owned();
                match event.as_str() {
                    "finalized" if frozen.is_some() => return Vec::new(),
                    "operationStorageItems" => hide_items(&mut message, behaviour),
                    "operationStorageDone" => {
                        let items = self.lying_items(&message, behaviour);
                        return items.into_iter().chain([message.to_string()]).collect();
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        vec![message.to_string()]
    }

    /// The event with what a storage operation is to find, right before that ends.
    fn lying_items(&mut self, done: &Value, behaviour: &Behaviour) -> Option<String> {
        let operation = done["params"]["result"]["operationId"].as_str()?;
        let keys = self.operations.remove(operation)?;
        let item = |key: &String| Some(json!({ "key": key, "value": lie(behaviour, key)?.as_ref()? }));
        let items: Vec<Value> = keys.iter().filter_map(item).collect();
        let mut event = done.clone();
        event["params"]["result"] =
            json!({ "event": "operationStorageItems", "operationId": operation, "items": items });
        (!items.is_empty()).then(|| event.to_string())
    }
}

/// The storage keys that a request asks for.
fn keys(method: &str, params: &Value) -> Vec<String> {
    match method {
        "state_getStorage" => params[0].as_str().map(str::to_owned).into_iter().collect(),
        "chainHead_v1_storage" => {
            let items = params[2].as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().filter_map(|item| item["key"].as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

/// The newest lie about a key.
fn lie<'a>(behaviour: &'a Behaviour, key: &str) -> Option<&'a Option<String>> {
    behaviour.lies.iter().rev().find(|(about, _)| about == key).map(|(_, value)| value)
}

fn hide_items(message: &mut Value, behaviour: &Behaviour) {
    if let Some(items) = message["params"]["result"]["items"].as_array_mut() {
        items.retain(|item| item["key"].as_str().is_none_or(|key| lie(behaviour, key).is_none()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, params: Value) -> String {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    }

    fn answered(
        relay: &mut Relay,
        behaviour: &Behaviour,
        method: &str,
        params: Value,
        answer: Value,
    ) -> Value {
        let (step, _) = relay.take_request(&request(method, params), behaviour);
        assert!(matches!(step, Step::Forward(_)), "{step:?}");
        let (texts, _) = relay.take_message(&result(&json!(1), &answer), behaviour);
        serde_json::from_str::<Value>(&texts[0]).expect("JSON")["result"].clone()
    }

    fn answering(methods: &str, answer: Answer) -> Behaviour {
        Behaviour { answers: vec![(methods.to_owned(), String::new(), answer)], ..Behaviour::default() }
    }

    fn follow_event(result: Value) -> String {
        let params = json!({ "subscription": "s", "result": result });
        json!({ "jsonrpc": "2.0", "method": "chainHead_v1_followEvent", "params": params }).to_string()
    }

    #[test]
    fn hidden_methods_are_refused_and_not_named() {
        let behaviour = answering("chainHead_v1_", Answer::Hidden);
        let mut relay = Relay::default();
        let (step, asked) = relay.take_request(&request("chainHead_v1_follow", json!([true])), &behaviour);
        assert!(matches!(step, Step::Answer(text) if text.contains("-32601")));
        assert_eq!(asked.as_deref(), Some("chainHead_v1_follow"));
        let methods = json!({ "methods": ["chainHead_v1_follow", "state_getStorage"] });
        let left = answered(&mut relay, &behaviour, "rpc_methods", json!([]), methods);
        assert_eq!(left["methods"], json!(["state_getStorage"]));
    }

    #[test]
    fn a_list_of_requests_does_not_slip_through() {
        let list = format!("[{}]", request("chainHead_v1_follow", json!([])));
        assert!(matches!(Relay::default().take_request(&list, &Behaviour::default()).0, Step::Answer(_)));
    }

    #[test]
    fn both_ways_of_reading_storage_are_told_the_same_lie() {
        let lies = vec![("0x01".to_owned(), Some("0xff".to_owned())), ("0x02".to_owned(), None)];
        let behaviour = Behaviour { lies, ..Behaviour::default() };
        let mut relay = Relay::default();
        for (key, told) in [("0x01", json!("0xff")), ("0x02", Value::Null), ("0x03", json!("0xaa"))] {
            let params = json!([key, "0xhash"]);
            assert_eq!(answered(&mut relay, &behaviour, "state_getStorage", params, json!("0xaa")), told);
        }
        let item = |key: &str, value: &str| json!({ "key": key, "value": value });
        let keys = ["0x01", "0x02", "0x03"].map(|key| json!({ "key": key, "type": "value" }));
        let started = json!({ "result": "started", "operationId": "op" });
        answered(&mut relay, &behaviour, "chainHead_v1_storage", json!(["s", "0xhash", keys]), started);
        let found = json!({ "event": "operationStorageItems", "operationId": "op",
            "items": [item("0x02", "0xbb"), item("0x03", "0xaa")] });
        let done = json!({ "event": "operationStorageDone", "operationId": "op" });
        let mut told = relay.take_message(&follow_event(found), &behaviour).0;
        told.extend(relay.take_message(&follow_event(done), &behaviour).0);
        let events: Vec<Value> = told
            .iter()
            .map(|text| serde_json::from_str::<Value>(text).expect("JSON")["params"]["result"].clone())
            .collect();
        assert_eq!(events[0]["items"], json!([item("0x03", "0xaa")]));
        assert_eq!(events[1]["items"], json!([item("0x01", "0xff")]));
        assert_eq!(events[2]["event"], "operationStorageDone");
    }

    #[test]
    fn a_frozen_node_tells_new_subscriptions_of_its_block_and_none_of_a_newer_one() {
        let head = |subscription: &str, number: &str| {
            let params = json!({ "subscription": subscription, "result": { "number": number } });
            json!({ "jsonrpc": "2.0", "method": "chain_finalizedHead", "params": params }).to_string()
        };
        let mut relay = Relay::default();
        assert_eq!(relay.take_message(&head("open", "0x5"), &Behaviour::default()).0, [head("open", "0x5")]);
        let frozen = super::super::Frozen { hash: "0xaa".to_owned(), header: json!({ "number": "0x3" }) };
        let behaviour = Behaviour { frozen: Some(frozen), ..Behaviour::default() };
        assert!(relay.take_message(&head("open", "0x6"), &behaviour).0.is_empty());
        assert_eq!(relay.take_message(&head("new", "0x6"), &behaviour).0, [head("new", "0x3")]);
        assert!(relay.take_message(&head("new", "0x7"), &behaviour).0.is_empty());
        assert!(behaviour.hides("chainHead_v1_follow"));
        let (step, _) = relay.take_request(&request("chain_getFinalizedHead", json!([])), &behaviour);
        assert!(matches!(step, Step::Answer(text) if text.contains("0xaa")));
        let finalized = json!({ "event": "finalized", "finalizedBlockHashes": ["0x01"] });
        assert!(relay.take_message(&follow_event(finalized), &behaviour).0.is_empty());
    }

    #[test]
    fn the_newest_answer_that_fits_the_parameters_counts() {
        let answers = vec![
            ("state_".to_owned(), String::new(), Answer::Never),
            ("state_call".to_owned(), "Metadata".to_owned(), Answer::Garbage),
        ];
        let behaviour = Behaviour { answers, ..Behaviour::default() };
        let step = |method, params| Relay::default().take_request(&request(method, params), &behaviour).0;
        assert!(matches!(step("state_call", json!(["Metadata_metadata", "0x"])), Step::Answer(_)));
        assert_eq!(step("state_call", json!(["Core_version", "0x"])), Step::Nothing);
        assert!(matches!(step("chain_getHeader", json!([])), Step::Forward(_)));
    }
}
