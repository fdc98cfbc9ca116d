// Prints what dcmjs finds in a structured report, as JSON: node read_report.js report.dcm
import { readFileSync } from "node:fs";
import dcmjs from "dcmjs";

const list = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
const codeOf = (sequence) => list(sequence)[0];
const named = (item, code) => codeOf(item.ConceptNameCodeSequence)?.CodeValue === code;
const children = (item, code) => list(item.ContentSequence).filter((child) => named(child, code));

const file = readFileSync(process.argv[2]);
const message = dcmjs.data.DicomMessage.readFile(file.buffer.slice(file.byteOffset, file.byteOffset + file.length));
const report = dcmjs.data.DicomMetaDictionary.naturalizeDataset(message.dict);

const measured = (item) => {
  const value = codeOf(item.MeasuredValueSequence);
  return {
    concept: codeOf(item.ConceptNameCodeSequence).CodeValue,
    value: Number(value.NumericValue),
    unit: codeOf(value.MeasurementUnitsCodeSequence).CodeValue,
    algorithm: list(item.ContentSequence).filter((child) => child.ValueType === "TEXT").map((child) => child.TextValue),
  };
};
const groups = children(report, "126010").flatMap((measurements) => children(measurements, "125007"));

console.log(
  JSON.stringify({
    patientName: list(report.PatientName).map((name) => name.Alphabetic ?? String(name)),
    root: codeOf(report.ConceptNameCodeSequence).CodeValue,
    template: codeOf(report.ContentTemplateSequence).TemplateIdentifier,
    study: report.StudyInstanceUID,
    groups: groups.map((group) => ({
      trackingUid: children(group, "112040").map((item) => item.UID)[0],
      measurements: list(group.ContentSequence).filter((item) => item.ValueType === "NUM").map(measured),
      interpretation: children(group, "363713009").map((item) => codeOf(item.ConceptCodeSequence).CodeValue),
      regions: list(group.ContentSequence)
        .filter((item) => item.ValueType === "SCOORD")
        .map((item) => ({
          type: item.GraphicType,
          points: list(item.GraphicData),
          image: codeOf(codeOf(item.ContentSequence).ReferencedSOPSequence).ReferencedSOPInstanceUID,
        })),
    })),
    conclusion: children(report, "C0034375")
      .flatMap((item) => children(item, "121077"))
      .map((item) => item.TextValue)[0],
  }),
);
