//! Machines with tokens, people whom a proxy knows, and TLS.

use std::path::Path;

use isotherm::console::users::{Role, Users};
use serde_json::json;

use super::{Client, PASSWORD, add_users, address, answer, with_console, with_users};
use crate::agent::Rig;
use crate::peers::{skip, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_acts_by_its_token_and_the_log_says_so() {
    let Some(mut rig) = Rig::start("console tokens", |t| with_users(&t)).await else { return };
    rig.frames(2).await;
    add_users(&rig);
    let mut client = Client::new(&address(&rig).await);
    let create = async |name: &str, role: &str, more: &[&str]| {
        let args = ["console", "token", "create", name, "--role", role, "--site", "site.toml"];
        rig.cli(&[&args[..], more].concat()).await
    };
    let (code, grafana, said) = create("grafana", "viewer", &[]).await;
    assert!(code == 0 && grafana.starts_with("isotherm_") && said.contains("this once"), "{grafana}{said}");
    let (_, robot, _) = create("robot", "operator", &["--for", "90d"]).await;
    let (grafana, robot) = (grafana.trim(), robot.trim());
    assert_eq!(create("robot", "viewer", &[]).await.0, 2, "a name is given once");
    let (_, listed, _) = rig.cli(&["console", "token", "list", "--site", "site.toml"]).await;
    assert!(listed.contains("robot") && listed.contains("operator") && !listed.contains(robot), "{listed}");

    let hold = json!({"act": "override", "setpoint": "chws_sp", "value": 7.5, "until": null, "why": "works"});
    let get = async |token: &str| answer(client.get("/api/state").bearer_auth(token)).await.0;
    let act = async |token: &str| {
        let url = format!("{}/api/acts", client.base);
        answer(client.http.post(url).bearer_auth(token).json(&hold)).await
    };
    assert_eq!(get(grafana).await, 200);
    let (status, said) = act(grafana).await;
    assert!(status == 403 && said["error"].as_str().unwrap().contains("operator"), "{said}");
    let (status, said) = act(robot).await;
    assert_eq!((status, &said["accepted"]), (200, &json!(true)), "without a session's token: {said}");
    assert_eq!(rig.bodies("operator")[0]["who"], "robot (operator, token)");

    let path = rig.dir.path().join("users.toml");
    let mut users = Users::load(&path).unwrap();
    let then = "2026-01-01T00:00:00Z".parse().unwrap();
    let old = users.create_token("old", Role::Engineer, then, Some(then)).unwrap();
    users.save(&path).unwrap();
    assert_eq!(get(&old).await, 401, "it has ended");
    assert_eq!(rig.cli(&["console", "token", "revoke", "robot", "--site", "site.toml"]).await.0, 0);
    assert_eq!(act(robot).await.0, 401, "it is out of force at once");

    assert_eq!(client.login("ann", PASSWORD).await, 200);
    assert_eq!(client.json("/api/state").await.0, 200);
    let refused = client.get("/api/state").bearer_auth(robot).send().await.unwrap();
    assert_eq!(refused.status(), 401, "a cookie does not make up for a bad token");
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
}

/// Closing the connection saves nobody from being counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_guess_counts_though_nobody_waits_for_the_answer() {
    let Some(mut rig) = Rig::start("console guesses", |t| with_users(&t)).await else { return };
    rig.frames(1).await;
    add_users(&rig);
    let mut client = Client::new(&address(&rig).await);
    let guess = json!({ "name": "ann", "password": "a guess" });
    soon("five guesses are counted", async {
        while rig.log().matches("login refused").count() < 5 {
            let asked = client.http.post(format!("{}/api/login", client.base)).json(&guess).send();
            tokio::time::timeout(std::time::Duration::from_millis(20), asked).await.ok();
        }
    })
    .await;
    assert_eq!(client.login("ann", PASSWORD).await, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_proxy_knows_the_console_knows() {
    let proxy = "proxy = { addresses = [\"127.0.0.1\"], user_header = \"X-Remote-User\", groups = { ops = \"operator\" }, role = \"viewer\" }";
    let Some(mut rig) = Rig::start("console proxy", |t| with_console(&t, proxy)).await else { return };
    rig.frames(2).await;
    let client = Client::new(&address(&rig).await);
    assert_eq!(client.json("/api/state").await.0, 401, "whom the proxy does not name is nobody");
    let by_proxy = |request: reqwest::RequestBuilder, groups: &str| {
        request.header("x-remote-user", "ann@plant.example").header("x-forwarded-groups", groups.to_owned())
    };
    let (_, session) = answer(by_proxy(client.get("/api/session"), "ops, staff")).await;
    let user = &session["user"];
    assert_eq!(
        (&user["name"], &user["role"]),
        (&json!("ann@plant.example"), &json!("operator")),
        "{session}"
    );
    let act = json!({"act": "mode", "mode": "shadow", "why": "maintenance"});
    let post = |csrf: &str, groups: &str| {
        let request = client.http.post(format!("{}/api/acts", client.base)).json(&act);
        by_proxy(request.header("x-csrf-token", csrf), groups)
    };
    assert_eq!(answer(post("", "ops")).await.0, 403, "another page's request goes through the proxy too");
    let csrf = user["csrf"].as_str().unwrap();
    assert_eq!(answer(post(csrf, "staff")).await.0, 403, "everyone else may look");
    let (status, said) = answer(post(csrf, "ops")).await;
    assert_eq!((status, &said["accepted"]), (200, &json!(true)), "{said}");
    assert_eq!(rig.bodies("operator")[0]["who"], "ann@plant.example (operator, console by proxy)");
}

/// The same headers from an address that is not the proxy's say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_proxy_is_not_believed() {
    let proxy = "proxy = { addresses = [\"192.0.2.1\"], role = \"engineer\" }";
    let Some(mut rig) = Rig::start("console proxy elsewhere", |t| with_console(&t, proxy)).await else {
        return;
    };
    rig.frames(1).await;
    let client = Client::new(&address(&rig).await);
    let forged = client.get("/api/state").header("x-forwarded-user", "eve");
    assert_eq!(answer(forged).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_speaks_tls() {
    let certificates = tempfile::tempdir().unwrap();
    if !crate::mqtt::certificates(certificates.path()) {
        skip("console tls", "needs openssl on the PATH");
        return;
    }
    let at = |file: &str| certificates.path().join(file).display().to_string();
    let tls = |cert: &str, key: &str| {
        format!("users = \"users.toml\"\ntls = {{ cert = \"{}\", key = \"{}\" }}", at(cert), at(key))
    };
    let good = tls("server.pem", "server.key");
    let Some(mut rig) = Rig::start("console tls", |t| with_console(&t, &good)).await else { return };
    rig.frames(2).await;
    add_users(&rig);
    let base = address(&rig).await;
    assert!(base.starts_with("https://127.0.0.1:"), "{base}");
    let mut client = Client::new(&base);
    let ca = reqwest::Certificate::from_pem(&std::fs::read(at("ca.pem")).unwrap()).unwrap();
    client.http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    assert_eq!(client.login("vic", PASSWORD).await, 200);
    assert_eq!(client.json("/api/state").await.0, 200);
    let body = json!({ "name": "vic", "password": PASSWORD });
    let response = client.http.post(format!("{base}/api/login")).json(&body).send().await.unwrap();
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains("; Secure"));
    // The stream of events, which a page lives on.
    let mut live = client.get("/api/live?after=0").send().await.unwrap();
    let first = soon("the first event", live.chunk()).await.unwrap().unwrap();
    assert!(first.starts_with(b"event: records"), "{first:?}");
    assert!(Client::new(&base).get("/healthz").send().await.is_err(), "an authority nobody trusts");
    assert!(Client::new(&base.replace("https", "http")).get("/healthz").send().await.is_err());

    // What is wrong is named, with the file.
    rig.stop().await;
    let site = rig.dir.path().join("site.toml");
    let text = std::fs::read_to_string(&site).unwrap();
    for (cert, key, field, what) in [
        ("none.pem", "server.key", "console.tls.cert", "Expected a PEM file"),
        ("server.ext", "server.key", "console.tls.cert", "holds no certificate"),
        ("server.pem", "server.ext", "console.tls.key", "private key"),
        ("server.pem", "client.key", "console.tls", "the key it was made for"),
    ] {
        std::fs::write(&site, text.replace(&good, &tls(cert, key))).unwrap();
        let (code, _, said) = rig.cli(&["run", "--site", "site.toml"]).await;
        let file = if field.ends_with("key") { key } else { cert };
        assert!(code == 2 && said.contains(field) && said.contains(what) && said.contains(file), "{said}");
    }
}

/// What others can reach takes a name, and a line on which names and passwords cannot be read.
#[test]
fn nothing_listens_beyond_this_machine_in_the_open() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/sites/air.toml")).unwrap();
    let parse = |console: &str| {
        let text = format!("{text}\n[console]\n{console}\n");
        isotherm::site::parse(&text, Path::new("site.toml")).map_err(|e| e.to_string())
    };
    let beyond = "listen = \"0.0.0.0:8455\"";
    let (users, tls) = ("users = \"users.toml\"", "tls = { cert = \"a.pem\", key = \"a.key\" }");
    let refused = parse(beyond).unwrap_err();
    assert!(refused.contains("console.listen") && refused.contains("console user add"), "{refused}");
    assert!(refused.contains("console.tls") && refused.contains("plain_http"), "{refused}");
    assert!(parse(&format!("{beyond}\n{users}")).unwrap_err().contains("plain_http"));
    assert!(parse(&format!("{beyond}\n{tls}")).unwrap_err().contains("console user add"));
    assert!(parse(&format!("{beyond}\n{users}\n{tls}")).is_ok());
    assert!(parse(&format!("{beyond}\n{users}\nplain_http = true")).is_ok());
    assert!(parse("listen = \"[::1]:8455\"").is_ok() && parse("listen = \"localhost:8455\"").is_ok());

    let proxy = |settings: &str| parse(&format!("proxy = {{ {settings} }}"));
    assert!(proxy("addresses = [\"10.0.0.1\"], role = \"viewer\"").is_ok());
    assert!(proxy("addresses = [\"10.0.0.1\"]").unwrap_err().contains("lets nobody in"));
    assert!(proxy("addresses = [\"0.0.0.0/0\"], role = \"viewer\"").unwrap_err().contains("the proxy's own"));
    assert!(proxy("addresses = [\"proxy\"], role = \"viewer\"").unwrap_err().contains("is no address"));
}
