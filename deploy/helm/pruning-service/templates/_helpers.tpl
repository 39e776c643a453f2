{{- define "pruning.labels" -}}
app.kubernetes.io/name: pruning-service
{{- end }}

{{- define "pruning.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion .Values.device) }}
{{- end }}
{{- end }}

{{- define "pruning.memory" -}}
{{- $ofDevice := ternary "32Gi" "8Gi" (eq .Values.device "cuda") -}}
{{ .Values.resources.memory | default (ternary "15Gi" $ofDevice (and .Values.jobs.enabled (ne .Values.device "cuda"))) }}
{{- end }}

{{- /* Refuses values that make no server. */ -}}
{{- define "pruning.check" -}}
{{- if and .Values.tokens.enabled (not .Values.tls.enabled) }}
{{- fail "tokens.enabled needs tls.enabled: tokens are not sent in plaintext" }}
{{- end }}
{{- if and .Values.tls.enabled (not .Values.tls.clientCertificates) (not .Values.tokens.enabled) }}
{{- fail "tls.clientCertificates is false: say who may call with tokens.enabled" }}
{{- end }}
{{- if and .Values.jobs.enabled (not .Values.jobs.stores) }}
{{- fail "jobs.enabled needs jobs.stores, such as s3://models" }}
{{- end }}
{{- end }}
