//! The client's verbs about definitions.

use amends_proto::v1;

use crate::client::{Client, ClientError, present};

impl Client {
    /// Checks a YAML document and stores it as the newest revision of its name.
    ///
    /// # Errors
    /// Whatever the server answers; diagnostics are in [`crate::RpcError::violations`].
    pub async fn apply_definition(
        &self,
        source: &str,
    ) -> Result<v1::ApplyDefinitionResponse, ClientError> {
        let message = v1::ApplyDefinitionRequest {
            parent: self.parent(),
            source: source.to_owned(),
            definition_id: String::new(),
        };
        self.repeat(true, || {
            let (mut definitions, message) = (self.definitions.clone(), message.clone());
            async move { definitions.apply_definition(message).await }
        })
        .await
    }

    /// Checks a YAML document and stores nothing.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn lint_definition(&self, source: &str) -> Result<Vec<v1::Diagnostic>, ClientError> {
        let message = v1::LintDefinitionRequest {
            parent: self.parent(),
            source: source.to_owned(),
        };
        let answer = self.repeat(true, || {
            let (mut definitions, message) = (self.definitions.clone(), message.clone());
            async move { definitions.lint_definition(message).await }
        });
        Ok(answer.await?.diagnostics)
    }

    /// Reads a revision of a definition, the newest if none is given.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn get_definition(
        &self,
        definition: &str,
        revision: Option<u32>,
    ) -> Result<v1::Definition, ClientError> {
        let message = v1::GetDefinitionRequest {
            name: self.definition_name(definition),
            revision,
        };
        let answer = self.repeat(true, || {
            let (mut definitions, message) = (self.definitions.clone(), message.clone());
            async move { definitions.get_definition(message).await }
        });
        present(answer.await?.definition)
    }

    /// Lists the newest revision of each definition, one page at a time.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn list_definitions(
        &self,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::ListDefinitionsResponse, ClientError> {
        let message = v1::ListDefinitionsRequest {
            parent: self.parent(),
            page_size,
            page_token: page_token.to_owned(),
        };
        self.repeat(true, || {
            let (mut definitions, message) = (self.definitions.clone(), message.clone());
            async move { definitions.list_definitions(message).await }
        })
        .await
    }

    /// Deletes a revision that no saga in flight is pinned to.
    ///
    /// # Errors
    /// Whatever the server answers; with sagas in flight that is `FAILED_PRECONDITION`.
    pub async fn delete_definition(
        &self,
        definition: &str,
        revision: u32,
    ) -> Result<(), ClientError> {
        let name = self.definition_name(definition);
        let answer = self.repeat(true, || {
            let (mut definitions, name) = (self.definitions.clone(), name.clone());
            let message = v1::DeleteDefinitionRequest { name, revision };
            async move { definitions.delete_definition(message).await }
        });
        answer.await.map(|_| ())
    }
}
