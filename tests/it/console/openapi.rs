//! The API against its own description: schemathesis, which nobody here wrote, reads the description from a
//! running console and sends what it allows and what it forbids.

use std::path::Path;

use isotherm::console::users::{Role, Users};
use serde_json::Value;

use super::{Client, address, answer, with_users};
use crate::agent::{Rig, honest};
use crate::peers::python_with;

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_as_it_is_described() {
    let test = "console openapi";
    let Some(python) = python_with(test, "schemathesis") else { return };
    let Some(mut rig) = Rig::start(test, |t| with_users(&t)).await else { return };
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(8).await;
    let token = |name: &str, role| {
        let path = rig.dir.path().join("users.toml");
        let mut users = Users::load(&path).unwrap();
        let token = users.create_token(name, role, isotherm::clock::now(), None).unwrap();
        users.save(&path).unwrap();
        token
    };
    let token = token("fuzzer", Role::Engineer);
    let client = Client::new(&address(&rig).await);
    let (status, document) = answer(client.get("/api/openapi.json").bearer_auth(&token)).await;
    assert_eq!((status, &document["openapi"]), (200, &Value::from("3.1.0")));
    assert_eq!(client.json("/api/openapi.json").await.0, 401, "it names what the site measures");

    let output = tokio::process::Command::new(python.with_file_name("schemathesis"))
        .current_dir(rig.dir.path())
        .arg("--config-file")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/schemathesis.toml"))
        .args(["run", &format!("{}/api/openapi.json", client.base)])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // An endless stream.
        .args(["--exclude-path", "/api/live", "--seed", "1", "--max-examples", "30", "--no-color"])
        .env("PYTHONUNBUFFERED", "1")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_mins(10), output).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Test cases:"), "{said}");
    assert_eq!(answer(client.get("/api/state").bearer_auth(&token)).await.0, 200, "the agent lives on");
}
