//! axum's extractors, with refusals in JSON like all others.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::refused;

pub(super) struct Query<T>(pub(super) T);
pub(super) struct Path<T>(pub(super) T);
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let given = axum::extract::Query::from_request_parts(parts, state).await;
        given.map(|given| Self(given.0)).map_err(|e| refused(e.status(), e.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let given = axum::extract::Path::from_request_parts(parts, state).await;
        given.map(|given| Self(given.0)).map_err(|e| refused(e.status(), e.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let given = axum::Json::from_request(request, state).await;
        given.map(|given| Self(given.0)).map_err(|e| refused(e.status(), e.body_text()))
    }
}
