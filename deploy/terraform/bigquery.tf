# What optsweep may do in BigQuery: as `optsweep doctor` asks for it, no more.

resource "google_bigquery_dataset" "staging" {
  dataset_id                  = var.datasets.staging
  location                    = var.bigquery_location
  description                 = "optsweep's staging tables: ids of a run, gone after seven days"
  default_table_expiration_ms = 7 * 24 * 3600 * 1000
  max_time_travel_hours       = 48
  depends_on                  = [google_project_service.needed]
}

resource "google_bigquery_dataset" "results" {
  dataset_id                 = var.datasets.results
  location                   = var.bigquery_location
  description                = "optsweep's suppression table, its views, and run tables"
  delete_contents_on_destroy = false
  depends_on                 = [google_project_service.needed]
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [access] # optsweep authorises its views
  }
}

# Single entries, because google_bigquery_dataset_iam_member would take
# authorised views away.
resource "google_bigquery_dataset_access" "staging" {
  dataset_id    = google_bigquery_dataset.staging.dataset_id
  role          = "WRITER"
  user_by_email = google_service_account.sweep.email
}

resource "google_bigquery_dataset_access" "results" {
  dataset_id    = google_bigquery_dataset.results.dataset_id
  role          = "WRITER"
  user_by_email = google_service_account.sweep.email
}

resource "google_project_iam_member" "bigquery" {
  for_each = toset(["roles/bigquery.jobUser", "roles/bigquery.readSessionUser"])
  project  = var.project
  role     = each.value
  member   = google_service_account.sweep.member
}

# On single tables; the mode suppression never writes to them.
resource "google_bigquery_table_iam_member" "table" {
  for_each   = { for t in var.tables : "${t.project}.${t.dataset}.${t.table}" => t }
  project    = each.value.project
  dataset_id = each.value.dataset
  table_id   = each.value.table
  role       = each.value.mode == "suppression" ? "roles/bigquery.dataViewer" : "roles/bigquery.dataEditor"
  member     = google_service_account.sweep.member
}
