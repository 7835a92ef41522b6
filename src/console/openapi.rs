//! Routes of the HTTP API together with what describes them: a route cannot be added without its description,
//! and what a handler reads is described by the type it reads it into. Served at `/api/openapi.json`
//! (OpenAPI 3.1).

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Shared;
use super::access::{COOKIE, CSRF};

const JSON: &str = "application/json";

/// A router that knows what its routes do.
pub(super) struct Documented {
    router: Router<Shared>,
    generator: SchemaGenerator,
    paths: Map<String, Value>,
}

/// What one route does.
pub(super) struct Operation {
    id: &'static str,
    summary: &'static str,
    query: Vec<Value>,
    body: Option<Value>,
    answers: Map<String, Value>,
    is_open: bool,
}

impl Documented {
    pub(super) fn new() -> Self {
        let generator = SchemaSettings::draft2020_12()
            .with(|s| {
                s.definitions_path = "/components/schemas".into();
                s.meta_schema = None;
            })
            .into_generator();
        Self { router: Router::new(), generator, paths: Map::new() }
    }

    pub(super) fn get<H, T>(mut self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.describe(path, "get", operation);
        self.router = self.router.route(path, get(handler));
        self
    }

    pub(super) fn post<H, T>(mut self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.describe(path, "post", operation);
        self.router = self.router.route(path, post(handler));
        self
    }

    fn describe(&mut self, path: &str, method: &str, operation: Operation) {
        let mut parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": whole_number() }))
            .collect();
        parameters.extend(operation.query);
        let mut about = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "parameters": parameters,
            "responses": operation.answers,
        });
        if let Some(body) = operation.body {
            about["requestBody"] = json!({ "required": true, "content": { JSON: { "schema": body } } });
        }
        if operation.is_open {
            about["security"] = json!([]);
        }
        let path = self.paths.entry(path).or_insert_with(|| json!({}));
        path[method] = about;
    }

    /// Query parameters that are read into this type.
    pub(super) fn query<T: JsonSchema>(&mut self) -> Vec<Value> {
        let schema = T::json_schema(&mut self.generator).to_value();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let parameter = |(name, mut schema): (String, Value)| {
            let description = schema.as_object_mut().and_then(|s| s.remove("description"));
            without_null(&mut schema);
            json!({ "name": name, "in": "query", "description": description.unwrap_or_default(),
                "style": "form", "explode": false, "schema": schema })
        };
        properties.into_iter().map(parameter).collect()
    }

    pub(super) fn schema<T: JsonSchema>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    /// The router with all routes, and the whole description at a route of its own.
    pub(super) fn finish(mut self, path: &str) -> Router<Shared> {
        let own = Operation::new("openapi", "This description.", &json!({ "type": "object" }));
        self.describe(path, "get", own);
        let document = Arc::new(self.document());
        self.router.route(path, get(move || async move { Json(Value::clone(&document)) }))
    }

    fn document(&mut self) -> Value {
        let schemas = self.generator.take_definitions(true);
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Isotherm console",
                "version": env!("CARGO_PKG_VERSION"),
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
                "description": "Reads through the audit log, acts through the controller. A refusal is {\"error\": TEXT}.",
            },
            "servers": [{ "url": "/" }],
            "security": [{ "token": [] }, { "session": [], "csrf": [] }],
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "token": { "type": "http", "scheme": "bearer",
                        "description": "Of a machine: `isotherm console token create`." },
                    "session": { "type": "apiKey", "in": "cookie", "name": COOKIE,
                        "description": "Of a person: `POST /api/login`." },
                    "csrf": { "type": "apiKey", "in": "header", "name": CSRF,
                        "description": "With a session, for every POST: `csrf` of `GET /api/session`." },
                },
            },
        })
    }
}

impl Operation {
    /// Answers with JSON like this. Whatever needs a login can be refused for want of one.
    pub(super) fn new(id: &'static str, summary: &'static str, answer: &Value) -> Self {
        let operation =
            Self { id, summary, query: Vec::new(), body: None, answers: Map::new(), is_open: false };
        operation.also(200, "As asked.", JSON, answer).refuses(&[401])
    }

    /// One that answers with something else than JSON.
    pub(super) fn plain(id: &'static str, summary: &'static str, media: &str) -> Self {
        let mut operation = Self::new(id, summary, &json!({}));
        operation.answers.remove("200");
        operation.also(200, "As asked.", media, &json!({ "type": "string" }))
    }

    /// Without a login.
    pub(super) fn open(mut self) -> Self {
        self.is_open = true;
        self.answers.remove("401");
        self
    }

    pub(super) fn query(mut self, parameters: Vec<Value>) -> Self {
        self.query = parameters;
        self.refuses(&[400])
    }

    /// A parameter that is a list of some of these, separated by commas.
    pub(super) fn among(mut self, name: &str, values: &[String]) -> Self {
        let one = json!({ "type": "string", "enum": values });
        for parameter in self.query.iter_mut().filter(|p| p["name"] == name) {
            parameter["schema"] =
                json!({ "type": "array", "items": one, "minItems": 1, "uniqueItems": true });
        }
        self
    }

    pub(super) fn body(mut self, schema: Value) -> Self {
        self.body = Some(schema);
        self.refuses(&[400, 413, 415, 422])
    }

    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        let error = json!({ "type": "object", "required": ["error"],
            "properties": { "error": { "type": "string" } } });
        for status in statuses {
            let why = match status {
                400 => "Not understood.",
                401 => "Nobody is logged in, and no token in force was sent.",
                403 => "The role does not allow it, or the session's token is missing.",
                404 => "There is no such thing.",
                409 => "It cannot be done now.",
                413 => "Too long.",
                415 => "The body is not JSON.",
                422 => "JSON, but not what is expected.",
                429 => "Too many attempts.",
                _ => "Not now.",
            };
            self = self.also(*status, why, JSON, &error);
        }
        self
    }

    /// Another answer, or another form of one.
    pub(super) fn also(mut self, status: u16, why: &str, media: &str, schema: &Value) -> Self {
        let answer = self
            .answers
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": why, "content": {} }));
        answer["content"][media] = json!({ "schema": schema });
        self
    }
}

fn whole_number() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX })
}

/// A parameter that is absent is not null.
fn without_null(schema: &mut Value) {
    if let Some(types) = schema["type"].as_array() {
        let rest: Vec<Value> = types.iter().filter(|t| *t != "null").cloned().collect();
        if let [one] = rest.as_slice() {
            schema["type"] = one.clone();
        }
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let rest: Vec<Value> = any.iter().filter(|s| s["type"] != "null").cloned().collect();
        if let [one] = rest.as_slice() {
            *schema = one.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::Page;
    use super::*;

    /// What a handler reads is what its description says.
    #[test]
    fn parameters_are_those_of_the_type() {
        let mut api = Documented::new();
        let parameters = api.query::<Page>();
        let find = |name: &str| parameters.iter().find(|p| p["name"] == name).unwrap().clone();
        let whole = json!({ "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX });
        assert_eq!(find("before")["schema"], whole);
        assert_eq!(find("since")["schema"], json!({ "type": "string", "format": "date-time" }));
        assert_eq!(find("rule")["schema"], json!({ "$ref": "#/components/schemas/Rule" }));
        assert_eq!(find("kinds")["schema"]["items"], json!({ "$ref": "#/components/schemas/Kind" }));
        assert_eq!(find("limit")["description"], "At most so many; 100 are the most, 2,000 if brief.");
        let document = api.document();
        assert!(document["components"]["schemas"]["Rule"].is_object(), "{document}");
    }
}
