// Checks templates of CloudFormation and SAM:
//
//	node validate.js KNOWN TEMPLATE...
//
// It fails on each finding that is fatal, an error or a warning, and on a
// resource that holds something and does not say what becomes of that when the
// stack is deleted, and on a name of a property that SAM does not have. KNOWN is a file of findings that are false alarms, one a line:
// the template, the rule, the logical id, and after a # the reason. A line that
// nothing is found for any more fails as well.
"use strict";

const fs = require("node:fs");
const { RegoEngine, TemplateFile, TemplateModel } = require("@aws/cloudformation-validate");

const counts = new Set(["FATAL", "ERROR", "WARN"]);
const required = new Set(["I3011"]); // DeletionPolicy and UpdateReplacePolicy

// The validator has no schemas of SAM's own resources. These are the names of their
// properties, from the SAM specification:
// https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html
const properties = {
  "AWS::Serverless::Function": `Architectures AssumeRolePolicyDocument AutoPublishAlias AutoPublishAliasAllProperties AutoPublishCodeSha256
    CodeSigningConfigArn CodeUri DeadLetterQueue DeploymentPreference Description Environment EphemeralStorage EventInvokeConfig Events
    FileSystemConfigs FunctionName FunctionUrlConfig Handler ImageConfig ImageUri InlineCode KmsKeyArn Layers LoggingConfig MemorySize
    PackageType PermissionsBoundary Policies PropagateTags ProvisionedConcurrencyConfig RecursiveLoop ReservedConcurrentExecutions Role
    RolePath Runtime RuntimeManagementConfig SnapStart SourceKMSKeyArn Tags Timeout Tracing VersionDescription VpcConfig`.split(/\s+/),
  "AWS::Serverless::HttpApi": `AccessLogSettings Auth CorsConfiguration DefaultRouteSettings DefinitionBody DefinitionUri Description
    DisableExecuteApiEndpoint Domain FailOnWarnings Name PropagateTags RouteSettings StageName StageVariables Tags`.split(/\s+/),
};

function* unknownProperties(template) {
  const model = new TemplateModel(new TemplateFile(template));
  for (const [id, resource] of Object.entries(model.resources())) {
    if (!resource.resourceType.startsWith("AWS::Serverless::")) continue;
    const names = properties[resource.resourceType];
    if (!names) yield `${id}: validate.js has no list of the properties of ${resource.resourceType}`;
    for (const name of Object.keys(resource.properties)) {
      if (names && !names.includes(name)) yield `${id}: ${resource.resourceType} has no property ${name}`;
    }
  }
  model.free();
}

function readKnown(name, templates) {
  const known = new Map();
  fs.readFileSync(name, "utf8").split("\n").forEach((line, i) => {
    const [entry, ...reason] = line.split("#");
    const fields = entry.trim().split(/\s+/);
    if (entry.trim() === "") return;
    if (fields.length !== 3 || reason.join("").trim() === "") {
      throw new Error(`${name}:${i + 1}: want TEMPLATE RULE LOGICAL_ID # reason`);
    }
    if (!templates.includes(fields[0])) throw new Error(`${name}:${i + 1}: no such template`);
    known.set(fields.join(" "), { line: i + 1, seen: false });
  });
  return known;
}

function main([knownFile, ...templates]) {
  const known = readKnown(knownFile, templates);
  const engine = new RegoEngine();
  let failed = 0;
  let excused = 0;
  const complain = (text) => {
    console.error(text);
    failed++;
  };
  for (const template of templates) {
    const report = engine.validateStandard(new TemplateFile(template));
    if (report.status !== "OK" || report.metadata.resourcesScanned === 0) complain(`${template}: not read: status ${report.status}`);
    for (const d of report.diagnostics) {
      if (!counts.has(d.severity) && !required.has(d.ruleId)) continue;
      const id = d.entity?.logicalId ?? "-";
      const entry = known.get(`${template} ${d.ruleId} ${id}`);
      if (entry) {
        entry.seen = true;
        excused++;
        continue;
      }
      complain(`${template}:${d.startLine}: ${d.ruleId} ${id}: ${d.message}`);
    }
    for (const text of unknownProperties(template)) complain(`${template}: ${text}`);
  }
  engine.free();
  for (const [key, entry] of known) {
    if (!entry.seen) complain(`${knownFile}:${entry.line}: not found any more, drop the line: ${key}`);
  }
  if (failed > 0) process.exit(1);
  console.log(`${templates.length} templates without a finding, but for ${excused} false alarms that are known`);
}

main(process.argv.slice(2));
