{{- define "optsweep.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "optsweep.labels" -}}
app.kubernetes.io/name: optsweep
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "optsweep.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "optsweep.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "optsweep.name" .) }}
{{- end }}

{{- define "optsweep.claim" -}}
{{ .Values.workspace.existingClaim | default (printf "%s-workspace" (include "optsweep.name" .)) }}
{{- end }}

{{/* The job file of mode cronjob: its only one. */}}
{{- define "optsweep.jobFile" -}}
{{ keys .Values.jobs | sortAlpha | first }}
{{- end }}

{{- define "optsweep.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What all pods have in common. */}}
{{- define "optsweep.pod" -}}
serviceAccountName: {{ include "optsweep.serviceAccount" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.runAsUser }}
  runAsGroup: {{ .Values.runAsUser }}
  fsGroup: {{ .Values.runAsUser }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* TMPDIR holds the leases on API keys. On the workspace's volume they are
     seen by every pod that mounts it; in a pod's own /tmp by none. */}}
{{- define "optsweep.env" -}}
- {name: TMPDIR, value: /var/lib/optsweep/tmp}
- {name: OPTSWEEP_LOG_FORMAT, value: json}
- {name: OPTSWEEP_PROGRESS, value: none}
{{- end }}

{{- define "optsweep.mounts" -}}
- {name: config, mountPath: /etc/optsweep, readOnly: true}
- {name: workspace, mountPath: /var/lib/optsweep}
- {name: tmp, mountPath: /tmp}
{{- range .Values.secrets }}
- {name: {{ printf "secret-%s" (. | replace "." "-") }}, mountPath: /var/run/optsweep/secrets/{{ . }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "optsweep.volumes" -}}
- name: config
  configMap: {name: {{ include "optsweep.name" . }}}
- name: workspace
  persistentVolumeClaim: {claimName: {{ include "optsweep.claim" . }}}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.tmpSize }}}
{{- range .Values.secrets }}
- name: {{ printf "secret-%s" (. | replace "." "-") }}
  secret: {secretName: {{ . }}, defaultMode: 0400}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
