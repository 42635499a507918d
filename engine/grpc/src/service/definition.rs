//! DefinitionService.

use amends_orchestrator::{Orchestrator, Refusal};
use amends_proto::v1;
use amends_proto::v1::definition_service_server::DefinitionService;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::page;
use crate::convert::definition as convert;
use crate::limits::{DEFINITIONS_AT_ONCE, DEFINITIONS_PAGE_BYTES, PAGE_SIZE_DEFAULT};
use crate::name;
use crate::status::{invalid, status_of};
use crate::token::Query;

/// The service.
#[derive(Clone)]
pub(crate) struct Definitions {
    orchestrator: Orchestrator,
}

impl Definitions {
    pub(crate) fn new(orchestrator: Orchestrator) -> Self {
        Self { orchestrator }
    }

    async fn apply(
        &self,
        request: v1::ApplyDefinitionRequest,
    ) -> Result<v1::ApplyDefinitionResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        let wanted = Some(request.definition_id.as_str()).filter(|id| !id.is_empty());
        let wanted = wanted
            .map(|id| name::definition_id("definition_id", id))
            .transpose()?;
        let applied = self
            .orchestrator
            .apply_definition(&namespace, &request.source, wanted)
            .await?;
        Ok(v1::ApplyDefinitionResponse {
            definition: Some(convert::full(&applied.record)),
            created: applied.created,
            diagnostics: applied
                .diagnostics
                .iter()
                .map(convert::diagnostic)
                .collect(),
            impact: applied.impact.as_ref().map(convert::impact),
        })
    }

    async fn get(
        &self,
        request: v1::GetDefinitionRequest,
    ) -> Result<v1::GetDefinitionResponse, Refusal> {
        let name = name::definition("name", &request.name)?;
        let record = self
            .orchestrator
            .definition(&name.namespace, &name.id, request.revision)
            .await?;
        Ok(v1::GetDefinitionResponse {
            definition: Some(convert::full(&record)),
        })
    }

    async fn list(
        &self,
        request: v1::ListDefinitionsRequest,
    ) -> Result<v1::ListDefinitionsResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        let size = page::size(request.page_size, PAGE_SIZE_DEFAULT)?;
        let query = Query::new(
            self.orchestrator.incarnation(),
            "ListDefinitions",
            &namespace,
        );
        let mut after = query.open(&request.page_token)?;
        let (mut definitions, mut bytes) = (Vec::new(), 0);
        loop {
            // One more than the page tells whether there is another page.
            let limit = (size + 1 - definitions.len()).min(DEFINITIONS_AT_ONCE);
            let records = self
                .orchestrator
                .list_definitions(&namespace, after.as_deref(), limit)
                .await?;
            let all = records.len() < limit;
            for record in records {
                if definitions.len() == size || bytes > DEFINITIONS_PAGE_BYTES {
                    let next_page_token = after.map(|last| query.seal(&last)).unwrap_or_default();
                    return Ok(v1::ListDefinitionsResponse {
                        next_page_token,
                        definitions,
                    });
                }
                let definition = convert::listed(&record);
                bytes += definition.encoded_len();
                definitions.push(definition);
                after = Some(record.name);
            }
            if all {
                return Ok(v1::ListDefinitionsResponse {
                    next_page_token: String::new(),
                    definitions,
                });
            }
        }
    }

    async fn delete(
        &self,
        request: &v1::DeleteDefinitionRequest,
    ) -> Result<v1::DeleteDefinitionResponse, Refusal> {
        let name = name::definition("name", &request.name)?;
        if request.revision == 0 {
            let description = "it is the number of the revision to delete, from 1";
            return Err(invalid("REVISION_INVALID", "revision", description));
        }
        self.orchestrator
            .delete_definition(&name.namespace, &name.id, request.revision)
            .await?;
        Ok(v1::DeleteDefinitionResponse {})
    }

    fn lint(
        &self,
        request: &v1::LintDefinitionRequest,
    ) -> Result<v1::LintDefinitionResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        let diagnostics = self
            .orchestrator
            .lint_definition(&namespace, &request.source)?;
        Ok(v1::LintDefinitionResponse {
            diagnostics: diagnostics.iter().map(convert::diagnostic).collect(),
        })
    }
}

#[tonic::async_trait]
impl DefinitionService for Definitions {
    async fn apply_definition(
        &self,
        request: Request<v1::ApplyDefinitionRequest>,
    ) -> Result<Response<v1::ApplyDefinitionResponse>, Status> {
        answer(self.apply(request.into_inner()).await)
    }

    async fn get_definition(
        &self,
        request: Request<v1::GetDefinitionRequest>,
    ) -> Result<Response<v1::GetDefinitionResponse>, Status> {
        answer(self.get(request.into_inner()).await)
    }

    async fn list_definitions(
        &self,
        request: Request<v1::ListDefinitionsRequest>,
    ) -> Result<Response<v1::ListDefinitionsResponse>, Status> {
        answer(self.list(request.into_inner()).await)
    }

    async fn lint_definition(
        &self,
        request: Request<v1::LintDefinitionRequest>,
    ) -> Result<Response<v1::LintDefinitionResponse>, Status> {
        answer(self.lint(request.get_ref()))
    }

    async fn delete_definition(
        &self,
        request: Request<v1::DeleteDefinitionRequest>,
    ) -> Result<Response<v1::DeleteDefinitionResponse>, Status> {
        answer(self.delete(request.get_ref()).await)
    }

    async fn get_definition_schema(
        &self,
        _request: Request<v1::GetDefinitionSchemaRequest>,
    ) -> Result<Response<v1::GetDefinitionSchemaResponse>, Status> {
        let schema = amends_definitions::language_schema();
        Ok(Response::new(v1::GetDefinitionSchemaResponse { schema }))
    }
}

/// An answer or a refusal, as tonic wants it.
pub(super) fn answer<T>(result: Result<T, Refusal>) -> Result<Response<T>, Status> {
    result
        .map(Response::new)
        .map_err(|refusal| status_of(&refusal))
}
