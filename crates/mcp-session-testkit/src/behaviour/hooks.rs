//! What a handler is told, and what it gets with it: of `initialize`, sessions, notifications, and all sessions.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use http::Method;
use mcp_session_core::{
    Broadcast, Config, Endpoint, Handler, InitializeRequest, InitializeResult, Json, Notification,
    NotificationContext, Principal, RequestContext, RpcError, Runtime, Session, WeakSessionManager,
    store::{MemoryStore, Store},
};
use serde_json::{Value, json};

use super::fixture::{Client, initialize, notification, request};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    c_20_the_handler_knows_the_id_before_the_client_does,
    c_10_the_handler_is_told_of_initialized_and_adopted_sessions,
    b_43_a_hook_that_panics_costs_nothing,
    a_notification_comes_with_its_session_and_its_request,
    c_03_other_members_of_the_result_reach_the_client,
    a_handler_reaches_all_sessions_and_keeps_no_endpoint_alive,
}

/// Records what it is told, and panics where the client asks it to.
#[derive(Debug, Clone, Default)]
struct Listening {
    told: Arc<Mutex<Vec<String>>>,
    sessions: Arc<Mutex<WeakSessionManager>>,
}

impl Listening {
    fn endpoint(&self, bed: &impl TestBed, runtime: Arc<dyn Runtime>, mut config: Config) -> Endpoint {
        bed.configure(&mut config);
        Endpoint::with_config(runtime, self.clone(), config).expect("limits that work")
    }

    fn told(&self) -> Vec<String> {
        mem::take(&mut *self.told.lock().unwrap())
    }

    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }

    fn hook(&self, what: &str, session: &Session) {
        self.tell(format!("{what} {}", session.id()));
        let info: Value = session.client_info().parse().unwrap();
        if info["name"] == "panics" {
            super::fixture::planted("a hook panics");
        }
    }
}

impl Handler for Listening {
    fn info(&self) -> InitializeResult {
        InitializeResult::new("listening", "1.0.0")
            .with_extra("_meta", json!({ "region": "eu" }))
            .with_extra("protocolVersion", "1999-01-01")
    }

    async fn initialize(&self, request: InitializeRequest) -> Result<InitializeResult, RpcError> {
        let id = request.session_id.expect("a session is being opened");
        self.tell(format!("initialize {id}"));
        Ok(self.info())
    }

    async fn initialized(&self, session: Session) {
        self.hook("initialized", &session);
    }

    async fn adopted(&self, session: Session) {
        self.hook("adopted", &session);
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        self.tell(format!("request {}", cx.session_id().expect("a session")));
        let all = cx.sessions().ok_or_else(|| RpcError::internal("the endpoint is gone"))?;
        *self.sessions.lock().unwrap() = all.downgrade();
        let Broadcast { taken, unheard, .. } = all.broadcast("notifications/n", None::<&()>)?;
        Ok(json!({ "sessions": all.sessions().len(), "taken": taken, "unheard": unheard }).into())
    }

    async fn notification(&self, notification: Notification, cx: NotificationContext) {
        let header = cx.headers().get("x-trace").and_then(|value| value.to_str().ok()).unwrap_or("none");
        let (id, owner) = (cx.session_id().expect("a session"), cx.principal().map(Principal::as_str));
        let layer = cx.extensions().get::<u32>();
        self.tell(format!("{} {id} {header} {owner:?} {layer:?} {cx:?}", notification.method));
    }
}

/// C-20: `initialize` gets the id of the session that is being opened, which is the one that the client is told.
fn c_20_the_handler_knows_the_id_before_the_client_does(bed: &impl TestBed) {
    let handler = Listening::default();
    let endpoint = handler.endpoint(bed, bed.runtime(), Config::default());
    bed.block_on(async {
        let mut client = Client::of(&endpoint);
        client.initialize("2025-11-25").await;
        assert_eq!(handler.told(), [format!("initialize {}", client.id())]);
    });
}

/// C-10, E-08: the handler is told when the client is initialized, at the node that heard it; and when a node takes up the
/// session of another, before its first request.
fn c_10_the_handler_is_told_of_initialized_and_adopted_sessions(bed: &impl TestBed) {
    let (at_a, at_b) = (Listening::default(), Listening::default());
    let runtime = bed.runtime();
    let store = Store::new(MemoryStore::new(Arc::clone(&runtime)));
    let [a, b] = [&at_a, &at_b].map(|handler| {
        let mut config = Config::default();
        config.store = Some(store.clone());
        handler.endpoint(bed, Arc::clone(&runtime), config)
    });
    bed.block_on(async {
        let mut client = Client::of(&a);
        client.initialize("2025-11-25").await;
        let id = client.id();
        for _ in 0..2 {
            client.post(&notification("notifications/initialized")).await; // the second one changes nothing (C-19)
        }
        assert_eq!(at_a.told(), [format!("initialize {id}"), format!("initialized {id}")]);
        for n in 1..=2 {
            client.to(&b).post(&request(n, "any")).await.answer().await;
        }
        assert_eq!(at_b.told(), [format!("adopted {id}"), format!("request {id}"), format!("request {id}")]);
        assert!(at_a.told().is_empty());
    });
}

/// B-43: a hook that panics fails neither the message that caused it nor a later one.
fn b_43_a_hook_that_panics_costs_nothing(bed: &impl TestBed) {
    let handler = Listening::default();
    let endpoint = handler.endpoint(bed, bed.runtime(), Config::default());
    bed.block_on(async {
        let mut client = Client::of(&endpoint);
        client.initialize_with(&initialize("2025-11-25", "panics")).await;
        let accepted = client.post(&notification("notifications/initialized")).await;
        assert_eq!(accepted.status.as_u16(), 202);
        assert_eq!(client.post(&request(1, "any")).await.answer().await["result"]["sessions"], 1);
        let id = client.id();
        let told = [format!("initialize {id}"), format!("initialized {id}"), format!("request {id}")];
        assert_eq!(handler.told(), told);
    });
}

/// A notification comes with its session and with the headers, extensions and principal of its HTTP request, which are
/// not printed (E-20). So does each one of a batch.
fn a_notification_comes_with_its_session_and_its_request(bed: &impl TestBed) {
    let handler = Listening::default();
    let endpoint = handler.endpoint(bed, bed.runtime(), Config::default());
    bed.block_on(async {
        let mut client = Client::of(&endpoint).known_as(Some("alice"));
        client.initialize("2025-03-26").await;
        let id = client.id();
        handler.told();
        let one = notification("notifications/one");
        let batch = json!([notification("notifications/two"), notification("notifications/three")]);
        for message in [one, batch] {
            let request = client.request(Method::POST).header("x-trace", "t1").extension(7u32);
            let reply = client.send(request.body(message.to_string()).unwrap()).await;
            assert_eq!(reply.status.as_u16(), 202);
        }
        let mut told = handler.told();
        told.sort();
        let printed = format!("NotificationContext {{ session: Some({id:?}), .. }}");
        let expected = ["one", "three", "two"]
            .map(|name| format!("notifications/{name} {id} t1 Some(\"alice\") Some(7) {printed}"));
        assert_eq!(told, expected);
    });
}

/// C-03: what a handler adds to the result of `initialize` reaches the client; it cannot change the negotiated version.
fn c_03_other_members_of_the_result_reach_the_client(bed: &impl TestBed) {
    let endpoint = Listening::default().endpoint(bed, bed.runtime(), Config::default());
    bed.block_on(async {
        let answer = Client::of(&endpoint).initialize("2025-06-18").await;
        let result = &answer["result"];
        assert_eq!(
            (&result["protocolVersion"], &result["_meta"]["region"]),
            (&json!("2025-06-18"), &json!("eu"))
        );
        assert_eq!(result["serverInfo"]["name"], "listening");
    });
}

/// A handler reaches all sessions of its endpoint, and what it keeps does not keep the endpoint alive.
fn a_handler_reaches_all_sessions_and_keeps_no_endpoint_alive(bed: &impl TestBed) {
    let handler = Listening::default();
    let mut config = Config::default();
    config.session.replay = None;
    let endpoint = handler.endpoint(bed, bed.runtime(), config);
    bed.block_on(async {
        let (mut one, mut two) = (Client::of(&endpoint), Client::of(&endpoint));
        for client in [&mut one, &mut two] {
            client.initialize("2025-11-25").await;
            client.post(&notification("notifications/initialized")).await;
        }
        let _stream = two.get().await;
        let answer = one.post(&request(1, "any")).await.answer().await;
        let result = &answer["result"];
        assert_eq!(*result, json!({ "sessions": 2, "taken": 1, "unheard": 1 })); // one of them has a stream
        let kept = handler.sessions.lock().unwrap().clone();
        assert_eq!(kept.upgrade().map(|all| all.sessions().len()), Some(2));
        drop((endpoint, one, two, _stream));
        assert!(kept.upgrade().is_none());
    });
}
