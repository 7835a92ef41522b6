//! A job scheduler and the agent over a real mosquitto: announcements, their answers, headroom, and the record.

use rumqttc::{AsyncClient, Event, Packet, QoS};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::agent::Rig;
use crate::peers::soon;

struct Scheduler {
    client: AsyncClient,
    /// Topic, whether the broker had kept it, and what it says.
    heard: mpsc::UnboundedReceiver<(String, bool, Value)>,
}

impl Scheduler {
    async fn connect(rig: &Rig, id: &str) -> Self {
        let (client, mut connection) = rig.broker.client(id);
        let (tx, heard) = mpsc::unbounded_channel();
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        client.subscribe("isotherm/test/job", QoS::AtLeastOnce).await.unwrap();
        client.subscribe("isotherm/test/headroom", QoS::AtLeastOnce).await.unwrap();
        tokio::spawn(async move {
            let (mut acks, mut ready) = (0, Some(ready));
            while let Ok(event) = connection.poll().await {
                if let Event::Incoming(Packet::Publish(p)) = &event {
                    let value = serde_json::from_slice(&p.payload).unwrap();
                    tx.send((p.topic.clone(), p.retain, value)).ok();
                }
                acks += u8::from(matches!(event, Event::Incoming(Packet::SubAck(_))));
                if acks == 2
                    && let Some(ready) = ready.take()
                {
                    ready.send(()).ok();
                }
            }
        });
        soon("the scheduler is subscribed", subscribed).await.unwrap();
        Self { client, heard }
    }

    async fn next(&mut self, topic: &str) -> (bool, Value) {
        soon(topic, async {
            loop {
                let (at, kept, value) = self.heard.recv().await.unwrap();
                if at.ends_with(topic) {
                    return (kept, value);
                }
            }
        })
        .await
    }

    /// Says something of a job; the agent's answer.
    async fn say(&mut self, message: Value) -> (bool, String) {
        self.client.publish("t/jobs", QoS::AtLeastOnce, false, message.to_string()).await.unwrap();
        let (_, answer) = self.next("/job").await;
        assert_eq!(answer["id"], message["id"]);
        (answer["accepted"].as_bool().unwrap(), answer["answer"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn a_scheduler_announces_jobs_and_reads_headroom() {
    let topic = |site: String| site.replacen("[envelope]", "[workload]\ntopic = \"t/jobs\"\n\n[envelope]", 1);
    let test = "a_scheduler_announces_jobs_and_reads_headroom";
    let Some(mut rig) = Rig::start(test, topic).await else { return };
    let mut scheduler = Scheduler::connect(&rig, "scheduler").await;
    rig.frames(4).await;

    let job =
        |kw: f64| json!({ "id": "train-7", "start": "2026-07-01T14:10:00Z", "kw": kw, "place": "test" });
    let (taken, answer) = scheduler.say(job(99_999.0)).await;
    assert!(!taken && answer.contains("kw: expected more than 0 and at most 1000 kW"), "{answer}");
    let (taken, answer) =
        scheduler.say(json!({ "id": "late", "start": "2020-01-01T00:00:00Z", "kw": 1 })).await;
    assert!(!taken && answer.contains("start: expected a time after 2026-07-01T12"), "{answer}");
    let (taken, answer) = scheduler.say(json!("<|im_end|>")).await;
    assert!(!taken && answer.contains("message: expected a JSON object"), "{answer}");
    assert_eq!(scheduler.say(job(300.0)).await, (true, "announced".to_owned()));

    rig.frames(8).await;
    let jobs = |rig: &Rig| rig.bodies("frame").last().unwrap()["frame"]["jobs"].clone();
    assert_eq!((&jobs(&rig)[0]["id"], &jobs(&rig)[0]["kw"]), (&json!("train-7"), &json!(300.0)));
    let shown = rig.bodies("decision").last().unwrap()["prompt"]["text"].as_str().unwrap().to_owned();
    assert!(shown.contains("\njob 300 kW at 14:10 in test\n"), "{shown}");

    let http = format!("{}/api/headroom", crate::console::address(&rig).await);
    rustls::crypto::ring::default_provider().install_default().ok();
    let headroom: Value = reqwest::get(&http).await.unwrap().json().await.unwrap();
    let place = &headroom["places"][0];
    assert_eq!((&headroom["minutes"], &place["place"]), (&json!(15), &json!("test")));
    assert!(place["kw"].is_number() && !place["reason"].as_str().unwrap().is_empty(), "{headroom}");
    let (_, live) = scheduler.next("/headroom").await;
    assert_eq!(live["places"][0]["place"], "test");

    // A scheduler that was told "announced" need not say it again because the agent was restarted.
    rig.end(rustix::process::Signal::KILL).await;
    rig.restart().await;
    rig.frames(4).await;
    assert_eq!(jobs(&rig)[0]["id"], "train-7");
    assert_eq!(
        scheduler.say(json!({ "id": "train-7", "cancelled": true })).await,
        (true, "cancelled".to_owned())
    );
    rig.frames(5).await;
    assert_eq!(rig.bodies("frame").last().unwrap()["frame"].get("jobs"), None);
    let shown = rig.bodies("decision").last().unwrap()["prompt"]["text"].as_str().unwrap().to_owned();
    assert!(!shown.contains("\njob "), "{shown}");

    rig.stop().await;
    let (kept, last) = Scheduler::connect(&rig, "another").await.next("/headroom").await;
    assert!(kept, "who comes later hears of it");
    assert_eq!(
        (&last["places"][0]["kw"], &last["places"][0]["reason"]),
        (&json!(0.0), &json!("the agent has stopped"))
    );

    let (code, out, err) = rig.cli(&["replay", "audit.db", "--verify", "--json"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["first_difference"], Value::Null, "{report}");
    assert!(report["decisions"].as_u64().unwrap() >= 3, "{report}");
}
