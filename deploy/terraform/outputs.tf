output "service_account" {
  description = "Who optsweep is: for grants outside this project."
  value       = google_service_account.sweep.email
}

output "workspace" {
  description = "The NFS export that holds the workspace. Back it up."
  value       = local.nfs
}

output "next_steps" {
  description = "What Terraform must not or cannot do."
  value = concat(
    ["as root, once, on a machine that has mounted the export: chown 65532:65532 its top folder"],
    [for s in var.secrets : "gcloud secrets versions add ${var.name}-${s} --project ${var.project} --data-file=-"],
    [
      "gcloud run jobs execute ${var.name} --region ${var.region} --wait --args=init,--config,/etc/optsweep/job.yaml",
      "gcloud run jobs execute ${var.name} --region ${var.region} --wait --args=doctor,--config,/etc/optsweep/job.yaml",
      "gcloud run jobs execute ${var.name} --region ${var.region} --wait --args=run,--dry-run,--config,/etc/optsweep/job.yaml",
    ],
  )
}
