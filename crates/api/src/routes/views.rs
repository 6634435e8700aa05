//! What requests and answers look like, for programs that talk to the api.

pub use super::batches::{BatchView, CaseView, NewIds};
pub use super::classes::{ClassTableView, ClassView};
pub use super::datasets::{DatasetView, NewDataset, Statistics, TypeCount};
pub use super::files::FileView;
pub use super::health::Health;
pub use super::images::ImageView;
pub use super::job_view::{
    ChangeView, CursorView, JobView, RunningUnit, TimesView, UnitCounts, WishesView,
};
pub use super::jobs::{AttemptView, OutputView, UnitView};
pub use super::label_types::{LabelTypeBody, LabelTypeView, PeriodicTrainingView};
pub use super::labels::{
    BoxView, CellView, ChangeBody, EditLabel, ImageClassView, LabelView, OperationBody, PlaceBody,
};
pub use super::legacy_models::NewLegacyModel;
pub use super::models::{ModelView, NewModel, Promote, Promoted};
pub use super::points::{PointsView, RemarkView};
pub use super::projects::{NewMergedClass, NewProject, ProjectView};
pub use super::status::{KeyState, KeyStatus, StatusRequest};
pub use super::upload_parts::{
    PartView, SignParts, SignedPartView, SignedParts, UploadState, UploadView, WantedPartBody,
};
pub use super::upload_plan::{FileKind, FilePart, FileTree, UploadFile};
pub use super::uploads::{GrantUploads, StoredUpload, UploadAnswer, UploadAnswers, UploadStatus};
pub use super::weights::NewWeights;
pub use super::why::{WhyEvent, WhyView};
pub use super::workers::{GpuView, MachineView, WorkerView};
pub use crate::edge::Page;
